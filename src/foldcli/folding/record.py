"""What became of each job: the record beside its files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from foldcli import __version__
from foldcli.data.query import Query
from foldcli.files import write_atomic
from foldcli.folding.models import Source

JOB_FILE = "job.json"
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
