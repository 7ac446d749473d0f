"""The index of a folder of mmCIF files: what training needs of each chain before loading it."""

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
# The types that JSON values may have for a field's type.
KINDS: dict[Any, Any] = {str: str, int: int, float: (int, float)}


@dataclass(frozen=True)
class IndexedChain:
    """A chain of the index.

    file: relative to the folder of structures; chain: its name in the file; alignment: the chain whose alignments it
    takes, empty for none; released, resolution, cluster and share as in `chain_source.Entry`.
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
    """Write the index as JSON, one chain a line."""
    lines = ",\n".join(json.dumps(dataclasses.asdict(record)) for record in records)
    write_atomic(path, f'{{"version": {VERSION}, "chains": [\n{lines}\n]}}\n')


def read_index(path: Path) -> list[IndexedChain]:
    """Read an index; InputError if the file is not one of this version."""
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
