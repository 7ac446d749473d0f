"""`foldcli data library` and `foldcli data relatives`: known folds for folding, and for training."""

from pathlib import Path
from typing import Annotated

import typer

Chains = Annotated[list[Path], typer.Argument(metavar="CHAINS.npz...", help="Files of experimental chains.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]


def relatives(
    chains: Chains,
    output: Output = Path("relatives.npz"),
    threads: Annotated[int, typer.Option(min=1, help="Processor cores to use.")] = 2,
) -> None:
    """Search each chain among all others; training draws templates from what is found."""
    from foldcli.search.chains import read_backbones
    from foldcli.search.relatives import find_relatives, write_relatives

    known = read_backbones(chains)
    found = find_relatives(known.names, known.sequences, threads, _show)
    write_relatives(output, found)
    typer.echo(f"{output}: {len(found.hit)} relatives of {len(found.names)} chains")


def register(app: typer.Typer) -> None:
    """Add these commands to `foldcli data`."""
    app.command()(relatives)


def _show(done: int, total: int) -> None:
    typer.echo(f"searched {done} of {total} chains", err=True)
