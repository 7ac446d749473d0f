"""What became of each job: one record beside its files, and the run's tables of all of them."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from foldcli import __version__
from foldcli.data.query import Query
from foldcli.errors import FoldcliError
from foldcli.folding.models import Source
from foldcli.report.files import write_atomic

JOB_FILE = "job.json"


@dataclass(frozen=True)
class Record:
    """One line of the results: a job, and its best prediction if it has one.

    status: done, failed or waiting; depth: rows of the alignment, 1 for a single sequence; seconds: of the fold;
    memory_gib: peak of the process or device; key: what was folded with what, as a hash; error: why it failed.
    """

    job: str
    status: str
    length: int
    depth: int
    model: str = ""
    seed: int | None = None
    plddt: float | None = None
    ptm: float | None = None
    seconds: float | None = None
    memory_gib: float | None = None
    trained: bool = True
    key: str = ""
    error: str = ""
    files: list[str] = field(default_factory=list)


def job_key(query: Query, sources: Sequence[Source], device: str, precision: str) -> str:
    """Hash of everything that decides the result: sequence, alignment, parameters, settings and the program."""
    digest = hashlib.sha256()
    settings = [asdict(source.config) | {"parameters": source.digest(), "overwrite": None} for source in sources]
    digest.update(json.dumps([__version__, query.sequence, device, precision, settings], sort_keys=True).encode())
    if query.alignment is not None:
        digest.update(query.alignment.tokens.tobytes())
        digest.update(query.alignment.deletions.tobytes())
    return digest.hexdigest()


def read_record(path: Path) -> Record | None:
    """The record of a finished job's folder; None where there is none that can be read."""
    try:
        values = json.loads((path / JOB_FILE).read_text(encoding="utf-8"))
        record = Record(**values)
    except (OSError, ValueError, TypeError):
        return None
    return record if all((path / name).is_file() for name in record.files) else None


def write_record(folder: Path, record: Record) -> None:
    write_atomic(folder / JOB_FILE, json.dumps(asdict(record), indent=1) + "\n")


class Results:
    """results.jsonl and summary.csv of an output folder: every job's newest record, whole at any moment."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.records = {record.job: record for record in self._earlier()}

    def _earlier(self) -> list[Record]:
        path = self.out / "results.jsonl"
        if not path.exists():
            return []
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            return [Record(**json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise FoldcliError(f"{path}: not a results file of foldcli; move it away, or use another --out") from error

    def add(self, *records: Record) -> None:
        """Put records in and write both files anew."""
        self.records |= {record.job: record for record in records}
        lines = [json.dumps(asdict(record)) + "\n" for record in self.records.values()]
        write_atomic(self.out / "results.jsonl", "".join(lines))
        write_atomic(self.out / "summary.csv", self._table())

    def _table(self) -> str:
        columns = [f.name for f in fields(Record) if f.name not in ("key", "files")]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for record in self.records.values():
            values = (getattr(record, column) for column in columns)
            writer.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in values])
        return text.getvalue()
