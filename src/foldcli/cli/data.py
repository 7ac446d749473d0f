"""`foldcli data`: make the files that training and template search read."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldcli.cli.library import register
from foldcli.files import require_writable

if TYPE_CHECKING:
    from foldcli.data.training.index import IndexedChain
    from foldcli.data.training.parallel_reading import FilesRead, ReadProgress

app = typer.Typer(
    name="data", help="Make the files that training reads, from structures and alignments.", no_args_is_help=True
)
register(app)

Clusters = Annotated[
    Path | None,
    typer.Option(
        help="File with a line for each cluster, names separated by blanks.", show_default="by MMseqs2, if installed"
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that read files.", show_default="one for each core")]
CORES = os.cpu_count() or 1
MOST_NAMES = 8  # that a line lists


@app.command()
def index(
    structures: Annotated[Path, typer.Option(help="Folder of mmCIF files, 2q2k.cif or 2q2k.cif.gz.")],
    alignments: Annotated[Path, typer.Option(help="Folder with a folder for each chain: 2q2k_A/*.a3m or *.sto.")],
    out: Annotated[Path, typer.Option("--out", "-o", callback=require_writable, help="The index.")] = Path(
        "index.json"
    ),
    clusters: Clusters = None,
    workers: Workers = CORES,
) -> None:
    """Index the chains of folders in OpenFold's layout, so that training starts without reading them all."""
    from foldcli.data.training.build_index import build_index
    from foldcli.data.training.index import write_index

    with _progress() as progress:
        made = build_index(structures, alignments, clusters, workers, progress)
    write_index(out, made.records)
    count = len({record.cluster for record in made.records})
    typer.echo(f"{out}: {len(made.records)} chains in {count} clusters ({made.clusters})")
    _tell_files(made.files)
    _tell_alignments(made.records)


@app.command()
def chains(
    folder: Annotated[Path, typer.Argument(help="Folder of mmCIF or PDB files.")],
    out: Annotated[Path, typer.Option("--out", "-o", callback=require_writable, help="The shard.")] = Path(
        "chains.npz"
    ),
    alignments: Annotated[
        Path | None, typer.Option(help="Folder of alignments, NAME_CHAIN.a3m or NAME_CHAIN/*.a3m, for the profiles.")
    ] = None,
    clusters: Clusters = None,
    workers: Workers = CORES,
) -> None:
    """Pack the protein chains of a folder into one file (a shard), each with the profile of its alignment."""
    from foldcli.data.training.build_shard import build_shard

    with _progress() as progress:
        made = build_shard(folder, out, alignments, clusters, workers, progress)
    typer.echo(f"{out}: {len(made.files.found)} chains in {made.clusters} clusters ({made.how})")
    _tell_files(made.files)
    if made.alone:
        typer.echo(f"{made.alone} chains have no alignment: their profile is their sequence")


def _tell_files(files: "FilesRead[Any]") -> None:
    left_out = f"{files.unreadable} could not be read, {files.without_protein} have no protein with a backbone"
    typer.echo(f"{files.files} files; {left_out}")
    if files.repeated:
        shown = ", ".join(sorted(set(files.repeated))[:MOST_NAMES])
        typer.echo(f"{len(files.repeated)} chains are in several files and taken from the first: {shown}")


def _tell_alignments(records: "list[IndexedChain]") -> None:
    from foldcli.config import SourceConfig
    from foldcli.data.training.chain_source import describe_dropped, filter_entries

    own = sum(record.alignment == record.name for record in records)
    none = sum(not record.alignment for record in records)
    typer.echo(
        f"{own} chains have alignments, {len(records) - own - none} take those of a chain with their sequence, "
        f"{none} have none and are learnt from their sequence alone"
    )
    _, dropped = filter_entries([record.entry for record in records], SourceConfig())
    typer.echo(f"the default filters leave out: {describe_dropped(dropped) or 'none'}")


@contextlib.contextmanager
def _progress() -> "Iterator[ReadProgress]":
    """A progress bar on a terminal, a line for each tenth in a log; a line for each file that cannot be read."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("reading files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task("", total=None)

        def progress(done: int, total: int, complaint: str) -> None:
            if complaint:
                console.print(complaint, markup=False, highlight=False, soft_wrap=True)
            bars.update(task, completed=done, total=total)
            if bars.disable and done * 10 // total > (done - 1) * 10 // total:
                typer.echo(f"read {done} of {total} files", err=True)

        yield progress
