"""Read the sequences to fold: FASTA, CSV (`id,sequence`), A3M (whose first row is the query), or a folder of these."""

import csv
import dataclasses
import io
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from foldcli.data.formats.alignment import parse_alignments
from foldcli.data.formats.attach_complex import pairing_notes
from foldcli.data.formats.complex_a3m import is_complex, parse_complex
from foldcli.data.formats.fasta_records import fasta_records
from foldcli.data.formats.letters import LIKE_DNA, chains_of
from foldcli.data.formats.names import safe_name, unique_names
from foldcli.data.formats.text_files import list_files, read_text
from foldcli.data.query import Query, lengths_of
from foldcli.errors import InputError

INPUT_SUFFIXES = (".fasta", ".fa", ".faa", ".a3m", ".csv")
NAMED_IN_MESSAGES = 10
_log = logging.getLogger(__name__)


def read_queries(path: Path, skip_bad: bool = False) -> list[Query]:
    """Read all records of a file, or of a folder's files, in order, with unique names.

    InputError names file, record and position of every record that cannot be folded; `skip_bad`: if others can, it is
    left out with a warning.
    """
    files = list_files(path, INPUT_SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: the folder has no input; expected files that end in {', '.join(INPUT_SUFFIXES)}")
    found = [one for file in files for one in _read_file(file)]
    queries = [one for one in found if isinstance(one, Query)]
    bad = [one for one in found if isinstance(one, InputError)]
    if bad and not (skip_bad and queries):
        raise _refusal(bad, len(queries))
    for error in bad:
        _log.warning("%s; left out", error)
    return with_unique_names(queries)


def with_unique_names(queries: Iterable[Query]) -> list[Query]:
    """Rename queries so that no two have the same name."""
    queries = list(queries)
    names = unique_names([query.name for query in queries])
    return [dataclasses.replace(query, name=name) for query, name in zip(queries, names, strict=True)]


def _refusal(bad: list[InputError], good: int) -> InputError:
    """One error for all records that cannot be folded; good: how many can."""
    way_out = "; --skip-bad folds the others" if good else ""
    if len(bad) == 1:
        return InputError(f"{bad[0]}{way_out}")
    named = "; ".join(f"({number}) {error}" for number, error in enumerate(bad[:NAMED_IN_MESSAGES], start=1))
    more = f"; and {len(bad) - NAMED_IN_MESSAGES} more" if len(bad) > NAMED_IN_MESSAGES else ""
    return InputError(f"{len(bad)} of {len(bad) + good} records cannot be folded: {named}{more}{way_out}")


def _read_file(path: Path) -> Iterator[Query | InputError]:
    """The records of a file, and an error in the place of each that cannot be folded."""
    reader = {".a3m": _a3m_records, ".csv": _csv_records}.get(path.suffix.lower(), _fasta_records)
    try:
        for written in reader(path):
            try:
                yield _checked(written)
            except InputError as error:
                yield error
    except InputError as error:
        yield error


def _checked(written: Query) -> Query:
    """The record with its letters as they are folded, and notes on what they were; InputError names a wrong one."""
    where = f"{written.source} ({written.title[:40] or 'no name'})"
    chains, notes = chains_of(written.sequence, where)
    for note in notes:
        if note.endswith(LIKE_DNA):
            _log.warning("%s %s", where, note)
    notes += pairing_notes(written.msas)
    return dataclasses.replace(written, sequence="".join(chains), notes=notes, chain_lengths=lengths_of(chains))


def _a3m_records(path: Path) -> Iterator[Query]:
    """The first row as the query, named after the file, since programs write `>101` or `>query` as its header."""
    name, text = safe_name(path.stem.replace(" ", "_"), "query"), read_text(path, separator=True)
    if is_complex(text) and not text.partition("\0")[2].strip("\0\n"):
        found = parse_complex(text.replace("\0", ""), path)
        yield Query(name, path.stem, ":".join(found.chains), f"{path}: row 1", msas=found.msas)
        return
    queries = parse_alignments(text, path)
    if len(queries) > 1:
        raise InputError(
            f"{path}: holds alignments of {len(queries)} queries; give the sequences as FASTA and this file with --msa"
        )
    (rows,) = queries.values()
    letters = rows.letters[0].tobytes().decode("ascii")
    yield Query(name, rows.title or path.stem, letters, f"{path}: row 1", rows.alignment())


def _fasta_records(path: Path) -> Iterator[Query]:
    before, records = fasta_records(read_text(path))
    if before.strip():
        raise InputError(f"{path}: starts with '{before.split()[0][:20]}'; expected a header line that starts with '>'")
    for number, (title, letters) in enumerate(records, start=1):
        yield Query(safe_name(title, f"record_{number}"), title, letters, f"{path}: record {number}")


def _csv_records(path: Path) -> Iterator[Query]:
    """A record for each line, as ColabFold has them; InputError without the columns `id` and `sequence`."""
    table = csv.DictReader(io.StringIO(read_text(path)), skipinitialspace=True)
    columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
    if not {"id", "sequence"} <= columns.keys():
        raise InputError(f"{path}: line 1 is no header with the columns id and sequence, such as 'id,sequence'")
    for row in table:
        title, letters = ((row[columns[key]] or "").strip() for key in ("id", "sequence"))
        source = f"{path}: line {table.line_num}"
        yield Query(safe_name(title, f"line_{table.line_num}"), title, "".join(letters.split()), source)
