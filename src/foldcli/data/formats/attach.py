"""Match alignments to the records of the input."""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from foldcli.data.formats.alignment import name_row, read_alignment, read_alignments
from foldcli.data.formats.names import safe_name
from foldcli.data.formats.searches import ALIGNMENT_SUFFIXES, alignment_files, is_search, join_alignments
from foldcli.data.formats.text_files import list_files, list_folders
from foldcli.data.query import Alignment, Query
from foldcli.errors import InputError

NAMED_IN_MESSAGES = 5
_log = logging.getLogger(__name__)


def attach_alignments(queries: Sequence[Query], msa: Path) -> list[Query]:
    """Attach alignments from `msa` to records: from one file by sequence, from a folder by record name.

    A folder holds NAME.a3m, NAME.sto, or a folder NAME with a file for each search, as AlphaFold and OpenFold write;
    0.a3m, 1.a3m and so on, as colabfold_search writes, are matched by sequence; or it is AlphaFold's own `msas` of one
    record. Alignments that match no record are left out with a warning, and a record without one stays a single
    sequence. InputError: none matches, two of one record, a query row that differs from its record, and as in
    `read_alignments`.
    """
    found = _from_folder(queries, msa) if msa.is_dir() else _from_file(queries, msa)
    return [_attach(query, *found[query.name]) if query.name in found else query for query in queries]


def _from_file(queries: Sequence[Query], path: Path) -> dict[str, tuple[Path, Alignment]]:
    if len(queries) == 1:
        return {queries[0].name: (path, read_alignment(path, queries[0].sequence, queries[0].source))}
    alignments = read_alignments(path)
    sequences = {query.sequence for query in queries}
    strange = [name_row(1, rows.title) for sequence, rows in alignments.items() if sequence not in sequences]
    _tell_left_out(path, strange, len(alignments), queries)
    return {q.name: (path, alignments[q.sequence].alignment()) for q in queries if q.sequence in alignments}


def _from_folder(queries: Sequence[Query], folder: Path) -> dict[str, tuple[Path, Alignment]]:
    files = list_files(folder, ALIGNMENT_SUFFIXES)
    if len(queries) == 1 and any(map(is_search, files)):
        return {queries[0].name: (folder, join_alignments(alignment_files(folder, "."), queries[0].sequence))}
    folders = [inside for inside in list_folders(folder) if alignment_files(folder, inside.name)]
    if not files and not folders:
        raise InputError(f"{folder}: the folder has no alignment; expected files named NAME.a3m or NAME.sto")
    found: dict[str, tuple[Path, Alignment]] = {}
    strange = []
    for path in (*files, *folders):
        matched = _match(queries, path)
        for name in matched & found.keys():
            raise InputError(f"{path}: {found[name][0].name} is an alignment of the same record; keep one of them")
        found |= {query.name: (path, _read(query, path)) for query in queries if query.name in matched}
        strange += [] if matched else [path.name]
    _tell_left_out(folder, strange, len(files) + len(folders), queries)
    return found


def _match(queries: Sequence[Query], path: Path) -> set[str]:
    """The names of the records that a file or folder has the alignment of: by its name, by sequence if that counts."""
    name = path.name if path.is_dir() else path.stem
    record = safe_name(name.replace(" ", "_"), name)
    if record in {query.name for query in queries} or not name.isdigit() or path.is_dir():
        return {query.name for query in queries if query.name == record}
    alignments = read_alignments(path)
    return {query.name for query in queries if query.sequence in alignments}


def _read(query: Query, path: Path) -> Alignment:
    if path.is_dir():
        return join_alignments(alignment_files(path.parent, path.name), query.sequence)
    return read_alignment(path, query.sequence, query.source)


def _attach(query: Query, path: Path, alignment: Alignment) -> Query:
    if query.alignment is not None:
        raise InputError(f"{path}: {query.source} brings its own alignment; keep one of the two")
    return dataclasses.replace(query, alignment=alignment)


def _tell_left_out(path: Path, strange: Sequence[str], count: int, queries: Sequence[Query]) -> None:
    """Warn of alignments that match no record; InputError if these are all."""
    if len(strange) == count:
        records = _first(query.name for query in queries)
        raise InputError(f"{path}: {_first(strange)}: of no record, by name or sequence; there are {records}")
    if strange:
        _log.warning("%s: %d of %d alignments are of no record, and left out: %s", path, len(strange), count,
                     _first(strange))  # fmt: skip


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMED_IN_MESSAGES} more" if len(listed) > NAMED_IN_MESSAGES else ""
    return ", ".join(listed[:NAMED_IN_MESSAGES]) + more
