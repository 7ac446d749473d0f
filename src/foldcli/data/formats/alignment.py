"""Alignments from A3M and Stockholm files (the letters, and what stands between the query's columns)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.formats.fasta_records import fasta_records
from foldcli.data.formats.text_files import read_text
from foldcli.data.query import Alignment
from foldcli.errors import InputError
from foldcli.protein.residues import GAP, INDEX, LETTERS_X

# Letters that stand for one of several residues, or for a rare one, read as AlphaFold reads HHblits' letters.
STANDS_FOR = {"B": "D", "J": "X", "O": "X", "U": "C", "Z": "E"}
GAP_BYTE, END = ord("-"), ord("\n")


def _token_table() -> NDArray[np.int8]:
    table = np.full(256, -1, np.int8)
    for letter, index in INDEX.items():
        table[ord(letter)] = index
    for letter, meant in STANDS_FOR.items():
        table[ord(letter)] = INDEX[meant]
    table[GAP_BYTE] = GAP
    return table


# Residue type of each letter, -1 for what is none.
TOKENS = _token_table()


@dataclass(frozen=True)
class ParsedAlignment:
    """An alignment as written: the query's header; letters [s, i] in ASCII, upper case; deletions [s, i]."""

    title: str
    letters: NDArray[np.uint8]
    deletions: NDArray[np.int32]

    @property
    def query(self) -> str:
        return self.letters[0].tobytes().decode("ascii")

    def alignment(self) -> Alignment:
        return Alignment(TOKENS[self.letters], self.deletions)


def read_alignment(path: Path, sequence: str, record: str = "the sequence") -> Alignment:
    """The alignment of `sequence` in a file, each row once; `record` names the sequence in messages.

    InputError: what `read_alignments` finds, or a query row that differs from the sequence (the first such position).
    """
    found = read_alignments(path)
    if sequence in found:
        return found[sequence].alignment()
    if len(found) > 1:
        raise InputError(f"{path}: none of its {len(found)} alignments is of {record}")
    ((query, rows),) = found.items()
    raise InputError(f"{path}: {name_row(1, rows.title)} {_difference(query, sequence)} in {record}")


def name_row(number: int, title: str) -> str:
    """A row as messages name it: its number, from 1, and the first word of its header."""
    words = title.split()
    return f"row {number} ({words[0][:40]})" if words else f"row {number}"


def _difference(query: str, sequence: str) -> str:
    for position, (here, there) in enumerate(zip(query, sequence, strict=False), start=1):
        if here != there:
            return f"has '{here}' at position {position}, which is '{there}'"
    return f"has {len(query)} residues, but there are {len(sequence)}"


def read_alignments(path: Path) -> dict[str, ParsedAlignment]:
    """The alignments of a file by their query's sequence; InputError: what `read_text` and `parse_alignments` find."""
    return parse_alignments(read_text(path, separator=True), path)


def parse_alignments(text: str, path: Path) -> dict[str, ParsedAlignment]:
    """The alignments in a file's text by their query's sequence, each row once, the first kept, as AlphaFold does.

    A file of the ColabFold server holds several, parted by NUL; those of one query are joined. InputError names file,
    row and position: no rows, ragged rows, what is no letter, a query row with gaps or insertions.
    """
    found: dict[str, ParsedAlignment] = {}
    for block in text.split("\0"):
        if block.strip():
            rows = parse_stockholm(block, path) if block.startswith("# STOCKHOLM") else parse_a3m(block, path)
            found[rows.query] = deduplicate(_join(found[rows.query], rows) if rows.query in found else rows)
    return found


def a3m_text(alignment: Alignment) -> str:
    """An alignment as A3M; of what is inserted only the number is known, so that it is written as x."""
    letters = np.array([*LETTERS_X, "-"])[alignment.tokens]
    cells = np.char.add(np.char.multiply("x", alignment.deletions), letters)
    return "".join(f">{number or 'query'}\n{''.join(row)}\n" for number, row in enumerate(cells))


def stacked(sequence: str, texts: Iterable[str]) -> str:
    """Alignments of one query in A3M below one another, the query's row once."""
    rows = [row for text in texts for row in f"\n{text}".replace("\0", "").rstrip().split("\n>")[2:]]
    return "".join(f">{row}\n" for row in [f"query\n{sequence}", *rows])


def deduplicate(rows: ParsedAlignment) -> ParsedAlignment:
    """Drop rows whose aligned letters stood before, whatever their insertions."""
    first: dict[bytes, int] = {}
    for number, letters in enumerate(rows.letters):
        first.setdefault(letters.tobytes(), number)
    kept = list(first.values())
    return ParsedAlignment(rows.title, rows.letters[kept], rows.deletions[kept])


def _join(above: ParsedAlignment, below: ParsedAlignment) -> ParsedAlignment:
    return ParsedAlignment(
        above.title, np.vstack([above.letters, below.letters]), np.vstack([above.deletions, below.deletions])
    )


def parse_a3m(text: str, path: Path) -> ParsedAlignment:
    """Read A3M: upper case and '-' are columns of the query, lower case stands between them, '.' only fills."""
    before, records = fasta_records(text)
    _check_start(before, path)
    if not records:
        raise InputError(f"{path}: has no row; expected a header line that starts with '>'")
    titles, rows = zip(*records, strict=True)
    written = [row.replace(".", "") for row in rows]
    _check_query(written[0], titles[0], path)

    codes = np.frombuffer(("\n".join(written) + "\n").encode("ascii", "replace"), np.uint8)
    columns = np.flatnonzero((codes < ord("a")) | (codes > ord("z")))
    letters = codes[columns]
    ends = np.flatnonzero(letters == END)
    if (TOKENS[letters] < 0).sum() > len(ends):
        raise _no_letter(written, titles, path)
    _check_widths(np.diff(ends, prepend=-1) - 1, titles, path)
    # the last entry of a row, its line end, holds what is inserted behind the last column: nobody asks for it
    between = np.diff(columns, prepend=-1) - 1
    shape = len(written), -1
    return ParsedAlignment(titles[0], letters.reshape(shape)[:, :-1], between.astype(np.int32).reshape(shape)[:, :-1])


def _check_start(before: str, path: Path) -> None:
    """What may stand above an A3M's first header: comments, among them ColabFold's `#lengths<TAB>copies`."""
    for line in before.splitlines():
        if line.strip() and not line.startswith("#"):
            raise InputError(f"{path}: starts with '{line.strip()[:20]}'; expected a header line that starts with '>'")
        chains = re.fullmatch(r"#([\d,]+)\t([\d,]+)\s*", line)
        if chains and ("," in line or chains[2] != "1"):
            raise InputError(f"{path}: is an alignment of several chains; complexes are not supported yet")


def _check_query(row: str, title: str, path: Path) -> None:
    for position, letter in enumerate(row, start=1):
        if letter == "-" or letter.islower():
            what = "a gap" if letter == "-" else "an insertion (lower case)"
            raise InputError(f"{path}: {name_row(1, title)}, the query, has {what} at position {position}")
    if not row:
        raise InputError(f"{path}: {name_row(1, title)}, the query, has no sequence")


def _check_widths(widths: NDArray[np.int64], titles: tuple[str, ...], path: Path) -> None:
    ragged = np.flatnonzero(widths != widths[0])
    if len(ragged):
        row = int(ragged[0])
        raise InputError(
            f"{path}: {name_row(row + 1, titles[row])} has {widths[row]} columns, the query has {widths[0]}"
        )


def _no_letter(written: list[str], titles: tuple[str, ...], path: Path) -> InputError:
    """The error for the first character that is neither a letter nor a gap."""
    row, position = next(
        (row, position)
        for row, text in enumerate(written)
        for position, letter in enumerate(text)
        if not (letter.isascii() and letter.isalpha()) and letter != "-"
    )
    letter = written[row][position]
    return InputError(
        f"{path}: {name_row(row + 1, titles[row])} has {letter!r} at position {position + 1}; expected a letter or '-'"
    )


def parse_stockholm(text: str, path: Path) -> ParsedAlignment:
    """Read Stockholm, in one block or several: columns where the first row has '-' or '.' are insertions."""
    parts = _stockholm_parts(text, path)
    titles = tuple(parts)
    written = ["".join(part).upper().replace(".", "-") for part in parts.values()]
    codes = np.frombuffer("".join(written).encode("ascii", "replace"), np.uint8)
    if (TOKENS[codes] < 0).any():
        raise _no_letter(written, titles, path)
    _check_widths(np.array([len(row) for row in written]), titles, path)

    letters = codes.reshape(len(written), -1)
    columns = np.flatnonzero(letters[0] != GAP_BYTE)
    if not len(columns):
        raise InputError(f"{path}: {name_row(1, titles[0])}, the query, has no sequence")
    inserted = (letters != GAP_BYTE) & (letters[0] == GAP_BYTE)
    deletions = np.diff(np.cumsum(inserted, axis=1, dtype=np.int32)[:, columns], axis=1, prepend=0)
    return ParsedAlignment(titles[0], letters[:, columns], deletions.astype(np.int32))


def _stockholm_parts(text: str, path: Path) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    body, _, after = text.partition("\n//")
    if after.strip():
        raise InputError(f"{path}: holds more than one Stockholm alignment; give each its own file")
    for number, line in enumerate(body.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            fields = line.split()
            if len(fields) != 2:
                raise InputError(f"{path}: line {number} is not a name and a row of letters")
            parts.setdefault(fields[0], []).append(fields[1])
    if not parts:
        raise InputError(f"{path}: has no row")
    return parts
