"""`foldcli weights`: list, download, import and verify parameter files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldcli.cli.complete import published_presets

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from foldcli.weights.cache import Entry
    from foldcli.weights.files import Progress

app = typer.Typer(
    name="weights", help="List, download, import and verify AlphaFold's parameters.", no_args_is_help=True
)

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="Take this preset only, such as model_1_ptm; may be repeated.", autocompletion=published_presets
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace other parameters of the same preset.")]


@app.command("list")
def list_presets() -> None:
    """List the presets and which of their parameter files are in the cache."""
    from rich.console import Console
    from rich.table import Table

    from foldcli.weights.cache import listing, params_folder
    from foldcli.weights.files import amount

    table = Table("preset", "file", "size", "SHA-256", "source", "date")
    for entry in listing():
        size = amount(entry.size) if entry.present else "absent"
        known = entry.sha256[:12] or ("not recorded" if entry.present else "")
        table.add_row(entry.preset, entry.file, size, known, entry.source, entry.date)
    console = Console()
    console.print(table)
    console.print(f"in {params_folder()}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def download(
    url: Annotated[str, typer.Option(help="Address to download from.", show_default="AlphaFold's, 5.3 GB")] = "",
    sha256: Annotated[str, typer.Option(help="Expected SHA-256 of the download.")] = "",
    model: Models = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archive after unpacking it.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Download AlphaFold's published parameters; an interrupted download continues when run again."""
    from foldcli.weights.cache import NOTICE, params_folder
    from foldcli.weights.fetch import OFFICIAL, fetch

    _require_sum(sha256)
    typer.echo(NOTICE)
    with _bars() as bars:
        entries = fetch(
            url or OFFICIAL, model or (), expected=sha256, keep=keep, overwrite=overwrite,
            progress=lambda title: _reporter(bars, title),
        )  # fmt: skip
    _report(entries)
    if not entries:
        typer.echo(f"nothing to do: all are in {params_folder()} already; --overwrite fetches them again")


@app.command("import")
def import_path(
    path: Annotated[Path, typer.Argument(help="AlphaFold's tar, .npz, .safetensors, .pt or .ckpt, or a folder.")],
    model: Models = None,
    overwrite: Overwrite = False,
) -> None:
    """Copy parameter files of this machine into the cache, without a network."""
    from foldcli.weights.cache import NOTICE
    from foldcli.weights.importing import import_file

    with _bars() as bars:
        entries = import_file(path, model or (), overwrite=overwrite, progress=_reporter(bars, "import"))
    if any(entry.license for entry in entries):
        typer.echo(NOTICE)
    _report(entries)


@app.command()
def verify() -> None:
    """Compare every file in the cache with its recorded SHA-256; exit code 1 if one differs."""
    from foldcli.weights.cache import listing, params_folder
    from foldcli.weights.cache import verify as problems_of

    with _bars() as bars:
        problems = problems_of(_reporter(bars, "verify"))
    for problem in problems:
        typer.echo(f"{problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)
    count = sum(entry.present for entry in listing())
    typer.echo(f"{count} of {count} files in {params_folder()} are as recorded")


def _require_sum(digits: str) -> None:
    from foldcli.errors import InputError

    if digits and (len(digits) != 64 or set(digits.lower()) - set("0123456789abcdef")):
        raise InputError(f"--sha256 '{digits}': expected 64 hexadecimal digits")


def _report(entries: "list[Entry]") -> None:
    for entry in entries:
        typer.echo(f"{entry.preset}: {entry.file}, SHA-256 {entry.sha256}")


@contextlib.contextmanager
def _bars() -> "Iterator[Bars]":
    """Progress bars on a terminal, disabled in a log."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        yield bars


def _reporter(bars: "Bars", title: str) -> "Progress":
    task: TaskID | None = None
    tenths = 0

    def report(done: int, total: int | None) -> None:
        nonlocal task, tenths
        if not bars.disable:
            task = bars.add_task(title, total=total) if task is None else task
            bars.update(task, completed=done, total=total)
        elif total and done * 10 // total > tenths:
            tenths = done * 10 // total
            typer.echo(f"{title}: {tenths * 10} %", err=True)

    return report
