"""The index of a folder of mmCIF files: what training must know of each chain before it is loaded."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldcli.data.formats.text_files import read_text
from foldcli.data.training.chain_source import Entry
from foldcli.errors import InputError
from foldcli.files import write_atomic

VERSION = 1
# What JSON makes of a field of each type.
KINDS: dict[Any, Any] = {str: str, int: int, float: (int, float)}


@dataclass(frozen=True)
class IndexedChain:
    """A chain: its file in the folder of structures, its name there, and the name of its alignments, empty for none.

    released, resolution, cluster and share are those of `chain_source.Entry`.
    """

    name: str
    file: str
    chain: str
    sequence: str
    alignment: str
    cluster: int
    released: str
    resolution: float
    share: float

    @property
    def entry(self) -> Entry:
        return Entry(self.name, len(self.sequence), self.cluster, self.released, self.resolution, self.share)


def write_index(path: Path, records: Sequence[IndexedChain]) -> None:
    """Write the index as JSON, a line for each chain."""
    lines = ",\n".join(json.dumps(dataclasses.asdict(record)) for record in records)
    write_atomic(path, f'{{"version": {VERSION}, "chains": [\n{lines}\n]}}\n')


def read_index(path: Path) -> list[IndexedChain]:
    """Read what `write_index` wrote; InputError for anything else."""
    try:
        content = json.loads(read_text(path))
        if content["version"] != VERSION:
            raise ValueError
        return [_record(row) for row in content["chains"]]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: is no index of this version; make it with `foldcli data index`") from None


def _record(row: dict[str, Any]) -> IndexedChain:
    record = IndexedChain(**row)
    if not all(isinstance(getattr(record, field.name), KINDS[field.type]) for field in dataclasses.fields(record)):
        raise TypeError
    return record
