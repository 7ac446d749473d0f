"""`foldcli train`: compose the recipe, open the data, train."""

from pathlib import Path

from rich.console import Console

from foldcli.compose import train_config
from foldcli.errors import InputError


def run_train(recipe: str, out: Path, resume: str, overrides: list[str]) -> None:
    """Train until the last step; errors as of `train_config`, of the data and of the run."""
    config = train_config(recipe, overrides)
    if resume not in ("auto", "none"):
        raise InputError(f"--resume {resume}: expected auto or none")
    from foldcli.training.begin import begin, place  # after the recipe is known to be good: torch takes a second
    from foldcli.training.progress import watch

    with place(config) as (device, ranks), watch(Console(stderr=True), config.steps) as watcher:
        begin(config, out, resume == "auto", device, ranks, watcher).train(watcher)
