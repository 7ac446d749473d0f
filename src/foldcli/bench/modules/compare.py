"""Earlier results, and what became slower or faster since (`--compare`)."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from foldcli.bench.modules.results import Figure, Measured, Pass
from foldcli.bench.request import Request
from foldcli.errors import InputError

# Smaller changes are not reported, even where the spread is smaller still.
NOTABLE = 0.05
Seconds = dict[tuple[str, str, str], tuple[float, ...]]


def load(path: Path) -> dict[str, Any]:
    """Read the JSON of `foldcli bench modules --json`; InputError: any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        request_of(found)
        _old_seconds(found)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not such a file"
        raise InputError(
            f"--compare {path}: {reason}; name a file that `foldcli bench modules --json` wrote"
        ) from error


def request_of(found: dict[str, Any]) -> Request:
    """The request behind earlier results, to measure it again."""
    asked = {key: tuple(value) if isinstance(value, list) else value for key, value in found["request"].items()}
    return Request(**dict[str, Any](asked))


def changes(before: dict[str, Any], now: Measured) -> Table:
    """Times of both runs as a table; a change counts if it is above 5 % and the times do not overlap."""
    old, then = _old_seconds(before), before["machine"]
    title = f"since {then['date'][:10]}, commit {then['commit'] or 'unknown'}, torch {then['torch']}"
    if (then["device"], then["threads"]) != (now.machine.device, now.machine.threads):
        title += f"; ANOTHER MACHINE: {then['device']}, {then['threads']} threads"
    rates = " and ".join(f"{limits['product'] / 1e12:.3f}" for limits in (before["limits"], asdict(now.limits)))
    title += f"; a matrix product at {rates} TFLOP/s"
    grid = Table("residues", "module", "ms before", "ms now", "ratio", "", title=title)
    for column in (0, 2, 3, 4):
        grid.columns[column].justify = "right"
    for key, seconds in _seconds(now):
        if key in old:
            low, high = median(old[key]), median(seconds)
            cells = f"{1e3 * low:,.1f}", f"{1e3 * high:,.1f}", f"{high / low:.2f}"
            grid.add_row(key[0], " ".join(key[1:]), *cells, verdict(old[key], seconds))
    return grid


def verdict(before: tuple[float, ...], now: tuple[float, ...]) -> str:
    """slower, faster, or "" if the times overlap or differ by less than 5 %."""
    ratio = median(now) / median(before)
    if ratio > 1 + NOTABLE and min(now) > max(before):
        return "slower"
    return "faster" if ratio < 1 - NOTABLE and max(now) < min(before) else ""


def _seconds(measured: Measured) -> Iterator[tuple[tuple[str, str, str], tuple[float, ...]]]:
    for length, figures in measured.figures.items():
        for figure in figures:
            for direction, one in _passes(figure):
                if one.times is not None:
                    yield (str(length), figure.module, direction), one.times.each


def _passes(figure: Figure) -> Iterator[tuple[str, Pass]]:
    yield "", figure.forward
    if figure.backward is not None:
        yield "backward", figure.backward


def _old_seconds(found: dict[str, Any]) -> Seconds:
    seconds: Seconds = {}
    for length, figures in found["figures"].items():
        for figure in figures:
            for key, direction in (("forward", ""), ("backward", "backward")):
                if figure[key] and figure[key]["times"]:
                    seconds[length, figure["module"], direction] = tuple(figure[key]["times"]["each"])
    return seconds
