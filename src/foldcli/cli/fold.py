"""`foldcli fold`: read the input, run, print the table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from foldcli.data.attach import attach_alignments
from foldcli.data.fasta import read_queries

if TYPE_CHECKING:
    from foldcli.folding.forecast import Forecast
    from foldcli.folding.record import Record

GIB = 1 << 30
LOG_WIDTH = 1000  # in a log no line of the table is broken


def run_fold(
    source: Path, out: Path, models: list[str], msa: Path | None, weights: str | None, overrides: list[str],
    dry_run: bool = False,
) -> int:  # fmt: skip
    """Fold every record, or say what that would take; return the exit code: 0 if all are done, 1 if some failed."""
    queries = read_queries(source)
    if msa is not None:
        queries = attach_alignments(queries, msa)
    # once the input is known to be good: torch alone takes more than a second to come up
    from foldcli.folding.models import resolve
    from foldcli.folding.progress import watch
    from foldcli.folding.run import Run
    from foldcli.folding.team import at_its_place

    sources = resolve(models, weights, overrides)
    if dry_run:
        from foldcli.folding.forecast import forecasts

        _print(forecast_table(forecasts(sources, queries)))
        return 0
    with at_its_place(sources[0].config):
        run = Run(sources, out)
        with watch(Console(stderr=True), len(queries)) as watcher:
            records = run.fold(queries, watcher)
    _print(table(records, out))
    return int(any(record.status != "done" for record in records))


def _print(grid: Table) -> None:
    width = None if sys.stdout.isatty() else LOG_WIDTH
    Console(markup=False, highlight=False, width=width).print(grid)


def forecast_table(forecasts: "Sequence[Forecast]") -> Table:
    """What each job would take, as `--dry-run` prints it; its plan stands below its numbers."""
    grid = Table("job", "model", "tokens", "parameters", "GiB whole", "GiB planned", "minutes", "longest on 1, 2, 4, 8")
    grid.add_column("plan", overflow="fold")
    for f in forecasts:
        planned = "does not fit" if f.planned is None else f"{f.planned / GIB:.2f}"
        size = (str(f.tokens), f"{f.parameters / 1e6:.1f} M", f"{f.whole / GIB:.2f}", planned)
        longest = ", ".join(str(length) for length in f.longest.values())
        grid.add_row(f.job, f.model, *size, f"{f.seconds / 60:.1f}", longest, "\n".join(f.words) or "whole")
    return grid


def table(records: "Sequence[Record]", out: Path) -> Table:
    """The results as they are printed at the end of a run."""
    untrained = any(not record.trained for record in records)
    title = "UNTRAINED parameters: the numbers mean nothing" if untrained else None
    grid = Table("job", "status", "length", "depth", "pLDDT", "pTM", "seconds", "GiB", title=title)
    grid.add_column("files", overflow="fold")
    for record in records:
        numbers = (record.plddt, record.ptm, record.seconds, record.memory_gib)
        formats = ("{:.1f}", "{:.2f}", "{:.1f}", "{:.1f}")
        shown = ("" if value is None else form.format(value) for value, form in zip(numbers, formats, strict=True))
        where = str(out / record.job) if record.status == "done" else record.error
        grid.add_row(record.job, record.status, str(record.length), str(record.depth), *shown, where)
    return grid
