"""`foldcli train`: compose the settings, open the data, train."""

from pathlib import Path
from typing import Annotated

import typer

from foldcli.cli.complete import recipes


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Any setting, such as steps=1000; wins over the options."),
    ] = None,
    config: Annotated[str, typer.Option(help="Recipe: tiny, mini, big or finetune.", autocompletion=recipes)] = "tiny",
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/RECIPE")] = None,
    resume: Annotated[
        str,
        typer.Option(
            help="auto goes on from the folder's last state, the same to the bit on the same processor and number of "
            "threads; none begins anew."
        ),
    ] = "auto",
    gpus: Annotated[int | None, typer.Option(help="GPUs of this machine to train on.", show_default="1")] = None,
) -> None:
    """Train a model on known structures."""
    from rich.console import Console

    from foldcli.compose import train_config
    from foldcli.errors import InputError

    settings = train_config(config, overrides or [], {} if gpus is None else {"gpus": gpus})
    if resume not in ("auto", "none"):
        raise InputError(f"--resume {resume}: expected auto or none")
    from foldcli.training.begin import (  # after the check of the settings: torch takes a second
        begin,
        join_or_launch_ranks,
    )
    from foldcli.training.progress import watch

    folder = out or Path("runs") / config
    with join_or_launch_ranks(settings) as (device, mesh), watch(Console(stderr=True), settings.steps) as watcher:
        begin(settings, folder, resume == "auto", device, mesh, watcher).train(watcher)
