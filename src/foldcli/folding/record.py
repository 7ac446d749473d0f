"""The record of a job, job.json beside its files, and the key that says whether it is up to date."""

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
# Settings that do not change a job's files, or whose effect is in its key already.
OUTSIDE_KEY = (
    "sort", "num_models", "device", "precision", "gpus", "dap", "zip", "overwrite", "autochunk", "memory_budget",
    "offload", "library", "template", "template_hits", "template_dir", "msa_mode", "db", "host_url", "msa_rounds",
    "initial_guess",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One line of the results: a job, and its best prediction if it has one."""

    job: str  # the query's name
    status: str  # done, failed, interrupted or waiting
    length: int  # residues
    depth: int  # rows of the alignment, 1 for a single sequence
    model: str = ""  # of the best prediction, as are seed, plddt and ptm
    seed: int | None = None
    plddt: float | None = None  # mean over residues, 0 to 100
    ptm: float | None = None  # None for models without this head
    iptm: float | None = None  # None for single chains
    seconds: float | None = None  # from features to files
    memory_gib: float | None = None  # peak of the process on the CPU, of the device on CUDA
    trained: bool = True  # False for untrained parameters
    key: str = ""  # hash by `job_key`
    error: str = ""  # why it failed
    templates: list[str] = field(default_factory=list)  # chains of known structures that the model was shown
    notes: list[str] = field(default_factory=list)  # lines on models, relaxations and unused templates
    files: list[str] = field(default_factory=list)  # names in the job's folder


def job_key(query: Query, sources: Sequence[Source], shown: Sequence[str], device: str, precision: str) -> str:
    """Hash of everything that decides the result: sequence, alignment, parameters, settings and foldcli's version.

    shown: digests of the searches for its alignment and templates, and of its initial guess.
    """
    digest = hashlib.sha256()
    outside = dict.fromkeys(OUTSIDE_KEY)
    settings = [asdict(source.config) | outside | {"parameters": source.digest} for source in sources]
    known = [__version__, ":".join(query.chains), *shown, device, precision, settings]
    digest.update(json.dumps(known, sort_keys=True).encode())
    for alignment in [query.alignment, *(found for one in query.msas for found in (one.unpaired, one.paired))]:
        if alignment is not None:
            digest.update(alignment.tokens.tobytes())
            digest.update(alignment.deletions.tobytes())
        elif query.msas:
            digest.update(b"none")
    return digest.hexdigest()


def read_record(path: Path) -> Record | None:
    """The record in a job's folder; None if it cannot be read, or if one of its files is missing."""
    try:
        values = json.loads((path / JOB_FILE).read_text(encoding="utf-8"))
        record = Record(**values)
    except (OSError, ValueError, TypeError):
        return None
    return record if all((path / name).is_file() for name in record.files) else None


def write_record(folder: Path, record: Record) -> None:
    write_atomic(folder / JOB_FILE, json.dumps(asdict(record), indent=1) + "\n")
