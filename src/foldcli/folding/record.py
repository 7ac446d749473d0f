"""What became of each job: one record beside its files, and the run's tables of all of them."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from filelock import FileLock

from foldcli import __version__
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.files import write_atomic
from foldcli.folding.index import index_html
from foldcli.folding.models import Source

JOB_FILE = "job.json"
RESULTS, SUMMARY, INDEX = "results.jsonl", "summary.csv", "index.html"
# Settings that leave the files of a job as they are, or that are in its key by what they led to.
OUTSIDE_KEY = (
    "sort", "num_models", "device", "precision", "gpus", "dap", "overwrite", "autochunk", "memory_budget", "library",
    "template", "template_hits", "template_dir", "msa_mode", "db", "host_url", "msa_rounds",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One line of the results: a job, and its best prediction if it has one.

    status: done, failed, interrupted or waiting; depth: rows of the alignment, 1 for a single sequence; seconds: from
    features to files; memory_gib: peak of the process or device; key: what was folded with what, as a hash; error: why
    it failed; templates: known chains that were shown; notes: what came of relaxations, and what was asked for and
    not done; files: their names in the job's folder.
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
    templates: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def job_key(query: Query, sources: Sequence[Source], shown: Sequence[str], device: str, precision: str) -> str:
    """Hash of everything that decides the result: sequence, alignment, parameters, settings and program.

    shown: what tells searches for alignments and templates from others.
    """
    digest = hashlib.sha256()
    outside = dict.fromkeys(OUTSIDE_KEY)
    settings = [asdict(source.config) | outside | {"parameters": source.digest} for source in sources]
    known = [__version__, query.sequence, *shown, device, precision, settings]
    digest.update(json.dumps(known, sort_keys=True).encode())
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
    """results.jsonl, summary.csv and index.html of a folder: every job's newest record, whole at any moment."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.read()

    def add(self, records: Iterable[Record]) -> dict[str, Record]:
        """Put records in and write the files anew; what others have added meanwhile stays, and is returned as well."""
        with FileLock(self.out / ".results.lock"):
            known = self.read() | {record.job: record for record in records}
            lines = [json.dumps(asdict(record)) + "\n" for record in known.values()]
            write_atomic(self.out / RESULTS, "".join(lines))
            write_atomic(self.out / SUMMARY, _table(known.values()))
            write_atomic(self.out / INDEX, index_html(known.values()))
        return known

    def read(self) -> dict[str, Record]:
        """Every record by its job; none before the first is written."""
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
