"""What moved between two files of the report."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foldcli.errors import InputError

# What a row is of, and its figures with their units.
NAMES = ("what", "size", "by", "dtype", "kernel", "size_class")
FIGURES = {"ms": "ms", "seconds": "s", "samples_per_second": "/s", "peak_gib": "GiB"}
# Smaller changes are noise whatever the spread; the spread of a time that was taken once.
NOTABLE, UNKNOWN = 0.05, 0.05
Rows = dict[tuple[str, str], dict[str, Any]]


def load(path: Path) -> dict[str, Any]:
    """Read a file of the report; InputError: any other file."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows_of(report)
        return report
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not such a file"
        raise InputError(f"{path}: {reason}; name a JSON file that the report wrote") from error


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield a table of what moved by more than noise, what fails or runs again, and what one side lacks."""
    before, now = rows_of(old), rows_of(new)
    about = [" ".join(str(report["about"].get(key)) for key in ("date", "device", "torch")) for report in (old, new)]
    yield f"since {about[0]}; now {about[1]}"
    lines = [_line(key, *figures) for key in before if key in now for figures in _moved(before[key], now[key])]
    yield from [f"{'part':22} {'what':64} {'old':>9} {'now':>9}  ratio", *lines] if lines else ["nothing moved"]
    yield from _missing(before, now, "now")
    yield from _missing(now, before, "before")


def _missing(rows: Rows, other: Rows, side: str) -> Iterator[str]:
    """Yield what the other side lacks: rows, and parts of which it has none."""
    parts = {part for part, _ in other}
    for part, count in Counter(part for part, _ in rows if part not in parts).items():
        yield f"missing {side}: {part}, all of {count}"
    yield from (f"missing {side}: {part}: {what}" for part, what in rows if part in parts and (part, what) not in other)


def rows_of(report: dict[str, Any]) -> Rows:
    """Return the rows of all parts by part and by what each row is of."""
    return {
        (part, " ".join(str(row[key]) for key in NAMES if row.get(key))): row
        for part, result in report["parts"].items() for row in result["rows"]
    }  # fmt: skip


def _moved(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield old figure, new figure and ratio, of those that moved."""
    before, now = ("fine" if row.get("ok", True) else "failed" for row in (old, new))
    if before != now:
        yield before, now, ""
    noise = max(NOTABLE, old.get("spread", UNKNOWN) + new.get("spread", UNKNOWN))
    for key, unit in FIGURES.items():
        if old.get(key) and new.get(key):
            ratio = new[key] / old[key]
            if max(ratio, 1 / ratio) > 1 + (NOTABLE if key == "peak_gib" else noise):
                yield f"{old[key]:.3g} {unit}", f"{new[key]:.3g} {unit}", f"{ratio:.2f}"


def _line(key: tuple[str, str], old: str, new: str, ratio: str) -> str:
    return f"{key[0]:22} {key[1]:64} {old:>9} {new:>9}  {ratio}".rstrip()
