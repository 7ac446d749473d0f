"""index.html: a table of a run's jobs with links to their pages."""

from collections import Counter
from collections.abc import Collection
from html import escape
from typing import Final
from urllib.parse import quote

from foldcli import __version__
from foldcli.folding.record import Record
from foldcli.report.assets import document
from foldcli.report.page import dot
from foldcli.report.provenance import UNTRAINED

STATES: Final = ("done", "failed", "interrupted", "waiting")
COLUMNS: Final = ("job", "status", "length", "depth", "pLDDT", "pTM", "ipTM", "model", "seconds", "GiB")


def index_html(records: Collection[Record]) -> str:
    """The page as text; records stand in the order given, and a click on a column's head sorts by it."""
    counts = Counter(record.status for record in records)
    trained = all(record.trained for record in records)
    single = all(record.iptm is None for record in records)
    columns = [name for name in COLUMNS if name != "ipTM" or not single]
    return document(
        "index.html",
        ("index.js",),
        banner="" if trained else f'<p class="banner">{escape(UNTRAINED)}</p>',
        counts=", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]),
        heads="".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in columns),
        rows="\n".join(_row(record, columns) for record in records),
        version=__version__,
    )


def _row(record: Record, columns: Collection[str]) -> str:
    cells = [
        _linked(record),
        f'<span class="state {record.status}">{record.status}</span>{_remarks(record)}',
        f"{record.length}",
        f"{record.depth}",
        "" if record.plddt is None else f"{dot(record.plddt)}{record.plddt:.1f}",
        "" if record.ptm is None else f"{record.ptm:.2f}",
        "" if record.iptm is None else f"{record.iptm:.2f}",
        escape(record.model),
        "" if record.seconds is None else f"{record.seconds:.1f}",
        "" if record.memory_gib is None else f"{record.memory_gib:.1f}",
    ]
    named = ((name, cell) for name, cell in zip(COLUMNS, cells, strict=True) if name in columns)
    shown = (f'<td data-label="{name}">{cell}</td>' for name, cell in named)
    return f"<tr>{''.join(shown)}</tr>"


def _linked(record: Record) -> str:
    """The job's name as a link to its page, or to its folder where an earlier version wrote no page."""
    if record.status != "done":
        return escape(record.job)
    page = "report.html" if "report.html" in record.files else ""
    return f'<a href="{quote(record.job)}/{page}">{escape(record.job)}</a>'


def _remarks(record: Record) -> str:
    return "".join(f"<small>{escape(text)}</small>" for text in (record.error, *record.notes) if text)
