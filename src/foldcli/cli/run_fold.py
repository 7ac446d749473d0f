"""What `foldcli fold` does: read the input, run, print the table."""

import contextlib
import gc
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from foldcli.byte_units import GIB, amount
from foldcli.compose import fold_config
from foldcli.data.formats.input import read_input
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.folding.api import fold
from foldcli.timers import Timers, process_age
from foldcli.weights import default

if TYPE_CHECKING:
    from foldcli.folding.forecast import Forecast
    from foldcli.folding.record import Record

MOST_NOTES = 8
LOG_WIDTH = 1000  # columns; no line of a table breaks in a log


def run_fold(
    source: Path, out: Path, models: list[str], msa: Path | None, weights: str | None, settings: Mapping[str, Any],
    overrides: list[str], *, skip_bad: bool, dry_run: bool, msa_only: bool, as_json: bool,
) -> int:  # fmt: skip
    """Fold every record, or only align it, or print what a fold would take; the exit code: 1 if some failed, else 0.

    settings: typed values by their keys in conf/fold.yaml; overrides: KEY=VALUE texts, which win over them. Errors as
    of `folding.api.fold`.
    """
    if dry_run and msa_only:
        raise InputError("--dry-run: tells what folds would take, and --msa-only folds nothing; leave one out")
    queries = read_input(source, msa, skip_bad)
    # Imported once the input is known to be good: torch alone takes more than a second.
    if dry_run:
        _print_forecasts(dry_run_forecasts(queries, models, weights, settings, overrides), as_json)
        return 0
    from foldcli.folding.align import align
    from foldcli.folding.job_scheduler import RanksNotStarted
    from foldcli.folding.models import PTM_MODELS
    from foldcli.folding.progress import JsonLines, watch
    from foldcli.parallel.launch import launch

    lines = JsonLines(sys.stdout)
    try:
        with contextlib.nullcontext(lines) if as_json else watch(Console(stderr=True)) as watcher:
            if msa_only:
                records = align(queries, out, fold_config((models or PTM_MODELS)[0], overrides, settings), watcher)
            else:
                chosen: Any = {
                    "models": models,
                    "weights": weights,
                    "overrides": overrides,
                    "timers": Timers(process_age()),
                }
                records = fold(queries, out, watcher=watcher, **chosen, **settings)
    except RanksNotStarted as wanted:
        launch(sys.argv[1:], wanted.ranks)
    if as_json:
        lines.run_ended(records)
    else:
        _print(table(records, out, ".a3m" if msa_only else ""))
        if by_default := [record for record in records if record.model == default.NAME]:
            measured = dict.fromkeys(default.measured(record.depth, len(record.templates)) for record in by_default)
            _print(f"{default.NAME}, {default.MEASURED} {', '.join(measured)}. {default.BETTER}")
    return int(any(record.status != "done" for record in records))


def dry_run_forecasts(
    queries: Sequence[Query], models: list[str], weights: str | None, settings: Mapping[str, Any], overrides: list[str]
) -> "list[Forecast]":
    """What a fold of the queries would take."""
    gc.disable()  # torch's modules stay: to look for garbage in them, again and again, takes half a second
    try:
        import torch._dynamo  # noqa: F401 - comes with the first fake tensor

        from foldcli.folding.forecast import forecasts
        from foldcli.folding.models import resolve

        gc.freeze()
        gc.enable()
        return forecasts(resolve(models, weights, overrides, settings, queries), queries)
    finally:
        gc.enable()
        gc.unfreeze()


def _print_forecasts(found: "Sequence[Forecast]", as_json: bool) -> None:
    if as_json:
        print(*(json.dumps({"event": "forecast", **asdict(one)}) for one in found), sep="\n")
    else:
        _print(forecast_table(found))


def _print(grid: Table | str) -> None:
    width = None if sys.stdout.isatty() else LOG_WIDTH
    Console(markup=False, highlight=False, width=width).print(grid)


def forecast_table(forecasts: "Sequence[Forecast]") -> Table:
    """What each job would take, as `--dry-run` prints it."""
    grid = Table("job", "model", "residues", "parameters", "memory whole", "memory planned", "minutes")
    devices = ", ".join(map(str, forecasts[0].longest))
    grid.add_column(f"longest on {devices} device{'s' * (devices != '1')}")
    grid.add_column("plan", overflow="fold")
    for f in forecasts:
        planned = "does not fit" if f.planned is None else amount(f.planned)
        size = (str(f.tokens), f"{f.parameters / 1e6:.1f} M", amount(f.whole), planned)
        longest = ", ".join(str(length) for length in f.longest.values())
        minutes = "" if f.planned is None else f"{f.seconds / 60:.1f}"
        grid.add_row(f.job, f.model, *size, minutes, longest, "\n".join(f.words) or "whole")
    return grid


def first_notes(notes: Sequence[str]) -> list[str]:
    """The first notes of a job, as many as the table has room for."""
    rest = len(notes) - MOST_NOTES
    return [*notes[:MOST_NOTES], *([f"and {rest} more, in job.json"] if rest > 0 else [])]


def table(records: "Sequence[Record]", out: Path, suffix: str = "") -> Table:
    """The table that is printed at the end of a run; suffix: of each record's file, empty where it has a folder."""
    untrained = any(not record.trained for record in records)
    title = "UNTRAINED parameters: the numbers mean nothing" if untrained else None
    formats = {"plddt": ("pLDDT", "{:.1f}"), "ptm": ("pTM", "{:.2f}"), "iptm": ("ipTM", "{:.2f}")}
    formats["seconds"] = ("seconds", "{:.1f}")
    if all(record.iptm is None for record in records):
        del formats["iptm"]
    grid = Table("job", "status", "length", "depth", *(head for head, _ in formats.values()), "memory", title=title)
    grid.add_column("files", overflow="fold")
    for record in records:
        numbers = [(getattr(record, name), form) for name, (_, form) in formats.items()]
        shown = ["" if value is None else form.format(value) for value, form in numbers]
        shown.append("" if record.memory_gib is None else amount(record.memory_gib * GIB))
        where = str(out / f"{record.job}{suffix}") if record.status == "done" else record.error
        lines = "\n".join([where, *first_notes(record.notes)])
        grid.add_row(record.job, record.status, str(record.length), str(record.depth), *shown, lines)
    return grid
