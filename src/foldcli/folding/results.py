"""The tables of a run: results.jsonl, summary.csv and index.html of its folder."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from filelock import FileLock

from foldcli.errors import InputError
from foldcli.files import write_atomic
from foldcli.folding.index import index_html
from foldcli.folding.record import Record

RESULTS, SUMMARY, INDEX = "results.jsonl", "summary.csv", "index.html"


class Results:
    """results.jsonl, summary.csv and index.html of a folder, with the newest record of every job; always complete."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.read()
        with self._locked():
            for draft in out.glob(".*.part"):  # of tables that a killed process was writing
                if draft.is_file():
                    draft.unlink()

    def add(self, records: Iterable[Record]) -> dict[str, Record]:
        """Add records and rewrite the files; returns all records by job, with those that other processes have added."""
        with self._locked():
            known = self.read() | {record.job: record for record in records}
            lines = [json.dumps(asdict(record)) + "\n" for record in known.values()]
            write_atomic(self.out / RESULTS, "".join(lines))
            write_atomic(self.out / SUMMARY, _table(known.values()))
            write_atomic(self.out / INDEX, index_html(known.values()))
        return known

    def _locked(self) -> FileLock:
        return FileLock(self.out / ".results.lock")

    def read(self) -> dict[str, Record]:
        """All records by job; empty before the first is written. InputError: a file that foldcli did not write."""
        path = self.out / RESULTS
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            records = [Record(**json.loads(line)) for line in lines]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); use another --out") from error
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: not a results file of foldcli; move it away, or use another --out") from error
        return {record.job: record for record in records}


def _table(records: Iterable[Record]) -> str:
    columns = [f.name for f in fields(Record) if f.name not in ("key", "templates", "notes", "files")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        values = (getattr(record, column) for column in columns)
        writer.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in values])
    return text.getvalue()
