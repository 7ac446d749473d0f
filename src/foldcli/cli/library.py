"""`foldcli data library` and `foldcli data relatives`: known structures as templates for folding and for training."""

from pathlib import Path
from typing import Annotated

import typer

from foldcli.files import require_writable

Shards = Annotated[list[Path], typer.Argument(metavar="CHAINS.npz...", help="Shards, as foldcli data chains writes.")]
MEGABYTE = 10**6


def library(
    shards: Shards,
    out: Annotated[Path, typer.Option("--out", "-o", callback=require_writable, help="The library.")] = Path(
        "library.npz"
    ),
    exclude: Annotated[Path | None, typer.Option(help="File with the names of chains to leave out.")] = None,
    max_size: Annotated[float, typer.Option(help="Largest size of the file, in megabytes.")] = 15.0,
) -> None:
    """Make a library of known structures: one chain of each cluster, then as many more as fit."""
    from foldcli.data.formats.name_list import read_names
    from foldcli.search.chains import read_chains
    from foldcli.search.library import write_library

    chains = read_chains(shards)
    count = write_library(out, chains, read_names(exclude) if exclude else (), int(max_size * MEGABYTE))
    typer.echo(f"{out}: {count} of {len(chains)} chains, {out.stat().st_size / MEGABYTE:.1f} MB")


def homologs(
    shards: Shards,
    out: Annotated[Path, typer.Option("--out", "-o", callback=require_writable, help="The homologs found.")] = Path(
        "relatives.npz"
    ),
    library: Annotated[Path | None, typer.Option(help="Library to search.", show_default="the package's")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor cores to use.")] = 2,
) -> None:
    """Search each chain in a library of known structures; training takes templates from what is found."""
    from foldcli.search.chains import read_chains
    from foldcli.search.homologs import find_homologs, write_homologs
    from foldcli.search.library import Library, bundled

    found = find_homologs(read_chains(shards), Library(library or bundled()), threads, _show)
    write_homologs(out, found)
    typer.echo(f"{out}: {len(found.hit)} homologs of {len(found.names)} chains")


def register(app: typer.Typer) -> None:
    """Add these commands to `foldcli data`."""
    app.command()(library)
    app.command("relatives")(homologs)


def _show(done: int, total: int) -> None:
    typer.echo(f"searched {done} of {total} chains", err=True)
