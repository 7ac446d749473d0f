"""Match alignments to the records of the input."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from foldcli.data.formats.alignment import ParsedAlignment, name_row, read_alignment
from foldcli.data.formats.attach_complex import ChainFile, chain_file, chain_folders, msas_of_chains, msas_of_file
from foldcli.data.formats.complex_a3m import read_blocks
from foldcli.data.formats.names import safe_name
from foldcli.data.formats.searches import ALIGNMENT_SUFFIXES, alignment_files, is_search, join_alignments
from foldcli.data.formats.text_files import list_files, list_folders
from foldcli.data.query import Query
from foldcli.errors import InputError

NAMED_IN_MESSAGES = 5
_log = logging.getLogger(__name__)


def attach_alignments(queries: Sequence[Query], msa: Path) -> list[Query]:
    """Attach alignments from `msa` to records: from one file by sequence, from a folder by record name.

    A folder holds NAME.a3m, NAME.sto, or a folder NAME with a file for each search, as AlphaFold and OpenFold write;
    0.a3m, 1.a3m and so on, as colabfold_search writes, are matched by sequence; or it is AlphaFold's own `msas` of one
    record. Of a complex, NAME.a3m is as ColabFold writes it (`complex_a3m`), and each chain has files NAME_A.a3m,
    NAME_A_paired.a3m and NAME_A_uniprot.a3m, or a folder NAME/A of its searches. Alignments that match no record are
    left out with a warning, and a record without one stays a single sequence. InputError: none matches, two of one
    record, a query row that differs from its record, and as in `read_alignments`.
    """
    found = _from_folder(queries, msa) if msa.is_dir() else _from_file(queries, msa)
    for query in queries:
        if query.name in found and query.is_aligned:
            raise InputError(f"{found[query.name][0]}: {query.source} brings its own alignment; keep one of the two")
    return [found[query.name][1] if query.name in found else query for query in queries]


def _from_file(queries: Sequence[Query], path: Path) -> dict[str, tuple[Path, Query]]:
    if len(queries) == 1:
        return {queries[0].name: (path, _with_file(queries[0], path))}
    alone, complexes = read_blocks(path)
    there = {*complexes, *(frozenset([sequence]) for sequence in alone)}
    taken = [query for query in queries if any(one <= set(query.entities) for one in there)]
    known = {entity for query in taken for entity in query.entities}
    strange = [name_row(1, rows.title) for sequence, rows in alone.items() if sequence not in known]
    strange += [f"a complex of {len(one)} sequences" for one in complexes if not one <= known]
    _tell_left_out(path, strange, len(there), queries)
    return {
        query.name: (path, msas_of_file(query, path) if query.chain_lengths else _alone(query, alone))
        for query in taken
    }


def _alone(query: Query, alone: Mapping[str, ParsedAlignment]) -> Query:
    return replace(query, alignment=alone[query.sequence].alignment())


def _with_file(query: Query, path: Path) -> Query:
    if query.chain_lengths:
        return msas_of_file(query, path)
    return replace(query, alignment=read_alignment(path, query.sequence, query.source))


def _from_folder(queries: Sequence[Query], folder: Path) -> dict[str, tuple[Path, Query]]:
    files = list_files(folder, ALIGNMENT_SUFFIXES)
    if len(queries) == 1 and (whole := _with_folder(queries[0], folder, any(map(is_search, files)))):
        return {queries[0].name: (folder, whole)}
    paths = [*files, *(inside for inside in list_folders(folder) if alignment_files(folder, inside.name))]
    if not paths:
        raise InputError(f"{folder}: the folder has no alignment; expected files named NAME.a3m or NAME.sto")
    found: dict[str, tuple[Path, Query]] = {}
    of_chains: dict[str, list[ChainFile]] = {}
    strange = []
    for path in paths:
        matched = _match(queries, path)
        for query in matched:
            _require_one(query, path, found)
            read = _with_folder(query, path, searched=True) if path.is_dir() else _with_file(query, path)
            found[query.name] = path, read or query
        parts = {} if matched else {query.name: part for query in queries if (part := chain_file(query, path))}
        for name, part in parts.items():
            of_chains.setdefault(name, []).append(part)
        strange += [] if matched or parts else [path.name]
    for query in [query for query in queries if query.name in of_chains]:
        _require_one(query, of_chains[query.name][0].path, found)
        found[query.name] = folder, msas_of_chains(query, of_chains[query.name])
    _tell_left_out(folder, strange, len(paths), queries)
    return found


def _require_one(query: Query, path: Path, found: Mapping[str, tuple[Path, Query]]) -> None:
    """Raise InputError if a record has an alignment besides that in `path`."""
    if query.name in found:
        raise InputError(f"{path}: {found[query.name][0].name} is an alignment of the same record; keep one of them")


def _match(queries: Sequence[Query], path: Path) -> list[Query]:
    """The records that a file or folder has the alignment of: by its name, by sequence if that counts."""
    name = path.name if path.is_dir() else path.stem
    record = safe_name(name.replace(" ", "_"), name)
    named = [query for query in queries if query.name == record]
    if named or not name.isdigit() or path.is_dir():
        return named
    alone, complexes = read_blocks(path)
    return [
        query for query in queries
        if (frozenset(query.entities) in complexes if query.chain_lengths else query.sequence in alone)
    ]  # fmt: skip


def _with_folder(query: Query, folder: Path, searched: bool) -> Query | None:
    """The record with the searches in a folder, of a complex in one for each chain; None if it has none.

    searched: whether the folder has searches of a single chain.
    """
    if query.chain_lengths and (found := chain_folders(query, folder)):
        return msas_of_chains(query, found)
    if not searched or len(query.entities) > 1:
        return None
    if query.chain_lengths:
        return msas_of_chains(query, [ChainFile(folder, 0, "")])
    return replace(query, alignment=join_alignments(alignment_files(folder, "."), query.sequence))


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
