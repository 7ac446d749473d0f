"""Match alignment files to the records of the input."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from foldcli.data.formats.alignment import name_row, read_alignment, read_alignments
from foldcli.data.formats.names import safe_name
from foldcli.data.formats.text_files import list_files
from foldcli.data.query import Query
from foldcli.errors import InputError

ALIGNMENT_SUFFIXES = (".a3m", ".sto")
NAMED_IN_MESSAGES = 5


def attach_alignments(queries: Sequence[Query], msa: Path) -> list[Query]:
    """Attach alignments from `msa` to records: from one file by sequence, from a folder by record name.

    A record without an alignment stays a single sequence. InputError: an alignment that matches no record, two
    alignments of one record, a query row that differs from its record, and as in `read_alignments`.
    """
    found = _from_folder(queries, msa) if msa.is_dir() else _from_file(queries, msa)
    return [found.get(query.name, query) for query in queries]


def _from_file(queries: Sequence[Query], path: Path) -> dict[str, Query]:
    if len(queries) == 1:
        return {queries[0].name: _attach(queries[0], path)}
    alignments = read_alignments(path)
    for sequence, rows in alignments.items():
        if all(query.sequence != sequence for query in queries):
            raise InputError(
                f"{path}: {name_row(1, rows.title)} is the sequence of no record; there are {_names(queries)}"
            )
    return {query.name: _attach(query, path) for query in queries if query.sequence in alignments}


def _from_folder(queries: Sequence[Query], folder: Path) -> dict[str, Query]:
    records = {query.name: query for query in queries}
    files = list_files(folder, ALIGNMENT_SUFFIXES)
    if not files:
        raise InputError(f"{folder}: the folder has no alignment; expected files named NAME.a3m or NAME.sto")
    found: dict[str, Path] = {}
    for file in files:
        name = safe_name(file.stem.replace(" ", "_"), file.stem)
        if name not in records:
            raise InputError(f"{file}: there is no record '{name}'; there are {_names(queries)}")
        if name in found:
            raise InputError(f"{file}: {found[name].name} is an alignment of the same record; keep one of them")
        found[name] = file
    return {name: _attach(records[name], file) for name, file in found.items()}


def _attach(query: Query, path: Path) -> Query:
    if query.alignment is not None:
        raise InputError(f"{path}: {query.source} brings its own alignment; keep one of the two")
    return dataclasses.replace(query, alignment=read_alignment(path, query.sequence, query.source))


def _names(queries: Sequence[Query]) -> str:
    names = ", ".join(query.name for query in queries[:NAMED_IN_MESSAGES])
    return names if len(queries) <= NAMED_IN_MESSAGES else f"{names} and {len(queries) - NAMED_IN_MESSAGES} more"
