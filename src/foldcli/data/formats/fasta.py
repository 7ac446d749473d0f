"""Read the sequences to fold from FASTA files, A3M files (whose first row is the query), or a folder of both."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from foldcli.data.formats.alignment import name_row, read_alignments
from foldcli.data.formats.fasta_records import fasta_records
from foldcli.data.formats.names import safe_name, unique_names
from foldcli.data.formats.text_files import list_files, read_text
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.protein.residues import LETTERS_X

FASTA_SUFFIXES = (".fasta", ".fa", ".faa")
INPUT_SUFFIXES = (*FASTA_SUFFIXES, ".a3m")
SPECIAL = {"*": "a stop: take it out", "-": "a gap: take it out"}


def read_queries(path: Path) -> list[Query]:
    """Read all records of a FASTA file, an .a3m file or a folder of such files, in order, with unique names.

    InputError names file, record and position of a record that cannot be folded.
    """
    if not path.is_dir():
        return with_unique_names(_read_file(path))
    files = list_files(path, INPUT_SUFFIXES)
    if not files:
        raise InputError(f"{path}: the folder has no input; expected files that end in {', '.join(INPUT_SUFFIXES)}")
    return with_unique_names(query for file in files for query in _read_file(file))


def with_unique_names(queries: Iterable[Query]) -> list[Query]:
    """Rename queries so that no two have the same name."""
    queries = list(queries)
    names = unique_names([query.name for query in queries])
    return [dataclasses.replace(query, name=name) for query, name in zip(queries, names, strict=True)]


def _read_file(path: Path) -> list[Query]:
    return [_read_a3m(path)] if path.suffix.lower() == ".a3m" else list(_read_fasta(path))


def _read_a3m(path: Path) -> Query:
    """Read the first row as the query, named after the file, since programs write `>101` or `>query` as its header."""
    queries = read_alignments(path)
    if len(queries) > 1:
        raise InputError(
            f"{path}: holds alignments of {len(queries)} queries; give the sequences as FASTA and this file with --msa"
        )
    ((letters, rows),) = queries.items()
    sequence = check_sequence(letters, f"{path}: {name_row(1, rows.title)}")
    name = safe_name(path.stem.replace(" ", "_"), "query")
    return Query(name, rows.title or path.stem, sequence, f"{path}: row 1", rows.alignment())


def _read_fasta(path: Path) -> Iterable[Query]:
    before, records = fasta_records(read_text(path))
    if before.strip():
        raise InputError(f"{path}: starts with '{before.split()[0][:20]}'; expected a header line that starts with '>'")
    for number, (title, letters) in enumerate(records, start=1):
        source = f"{path}: record {number}"
        name = safe_name(title, f"record_{number}")
        yield Query(name, title, check_sequence(letters, f"{source} ({title[:40] or 'no name'})"), source)


def check_sequence(letters: str, where: str) -> str:
    """Return the sequence in upper case; InputError, starting with `where`, if empty or with an invalid letter."""
    # only ASCII: some other letters have an upper case among A to Z
    sequence = "".join(letter.upper() if letter.isascii() else letter for letter in letters)
    if not sequence:
        raise InputError(f"{where} has no sequence")
    if ":" in sequence:
        raise InputError(f"{where} joins chains by ':'; complexes are not supported yet")
    for position, letter in enumerate(sequence, start=1):
        if letter not in LETTERS_X:
            meaning = SPECIAL.get(letter, "expected one of the 20 amino acids or X")
            raise InputError(f"{where} has {letter!r} at position {position}; {meaning}")
    return sequence
