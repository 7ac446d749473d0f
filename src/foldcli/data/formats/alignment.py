"""Read multiple sequence alignments from A3M and Stockholm files, and write A3M."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.formats.fasta_records import fasta_records
from foldcli.data.formats.letters import AS_ALPHAFOLD, STANDS_FOR
from foldcli.data.formats.text_files import read_text
from foldcli.data.query import Alignment
from foldcli.errors import InputError
from foldcli.protein.residues import GAP, INDEX, LETTERS_X

# Rows of HHsuite's files that are no sequences: a letter or digit of secondary structure or exposure for each residue.
NO_SEQUENCES = ("ss_pred", "ss_conf", "ss_dssp", "sa_dssp", "aa_pred", "aa_dssp")
DESCRIPTION = re.compile(r"^#=GS +(\S+) +DE +(.*\S)", re.MULTILINE)  # of a row of Stockholm, with its name
GAP_BYTE, END = ord("-"), ord("\n")


def _token_table() -> NDArray[np.int8]:
    table = np.full(256, -1, np.int8)
    for letter, index in INDEX.items():
        table[ord(letter)] = index
    for letter, meant in STANDS_FOR.items():
        table[ord(letter)] = INDEX[meant]
    table[GAP_BYTE] = GAP
    return table


# Residue type by character code; -1 for a character that is not a residue or gap.
TOKENS = _token_table()


@dataclass(frozen=True)
class ParsedAlignment:
    """An alignment as the file has it, before letters become tokens.

    titles: the rows' headers, the query's first; letters [s, i]: upper-case ASCII codes; deletions [s, i]: residues
    deleted before each column, relative to the query.
    """

    titles: tuple[str, ...]
    letters: NDArray[np.uint8]
    deletions: NDArray[np.int32]

    @property
    def title(self) -> str:
        return self.titles[0]

    @property
    def query(self) -> str:
        """The query in the letters that are folded: rare ones as what they stand for."""
        return self.letters[0].tobytes().decode("ascii").translate(AS_ALPHAFOLD)

    def alignment(self) -> Alignment:
        return Alignment(TOKENS[self.letters], self.deletions, self.titles)


def read_alignment(path: Path, sequence: str, record: str = "the sequence") -> Alignment:
    """Read the alignment of `sequence` from a file, without duplicate rows; `record` names the sequence in messages.

    InputError: as in `read_alignments`, or the query row differs from the sequence; names the first such position.
    """
    found = read_alignments(path)
    if sequence in found:
        return found[sequence].alignment()
    if len(found) > 1:
        raise InputError(f"{path}: none of its {len(found)} alignments is of {record}")
    ((query, rows),) = found.items()
    raise InputError(f"{path}: {name_row(1, rows.title)} {_difference(query, sequence)} in {record}")


def name_row(number: int, title: str) -> str:
    """Name a row in a message: its number, from 1, and the first word of its header."""
    words = title.split()
    return f"row {number} ({words[0][:40]})" if words else f"row {number}"


def _difference(query: str, sequence: str) -> str:
    for position, (here, there) in enumerate(zip(query, sequence, strict=False), start=1):
        if here != there:
            return f"has '{here}' at position {position}, which is '{there}'"
    return f"has {len(query)} residues, but there are {len(sequence)}"


def read_alignments(path: Path) -> dict[str, ParsedAlignment]:
    """Read all alignments of a file, by query sequence; InputError as in `read_text` and `parse_alignments`."""
    return parse_alignments(read_text(path, separator=True), path)


def parse_alignments(text: str, path: Path) -> dict[str, ParsedAlignment]:
    """Parse all alignments in a file's text, by query sequence, each row once (the first stays, as in AlphaFold).

    A file of the ColabFold server holds several alignments, separated by NUL; those of one query are joined.
    InputError names file, row and position: no rows, rows of unequal length, invalid characters, insertions in the
    query row.
    """
    found: dict[str, ParsedAlignment] = {}
    for block in text.split("\0"):
        if block.strip():
            rows = parse_stockholm(block, path) if block.startswith("# STOCKHOLM") else parse_a3m(block, path)
            found[rows.query] = deduplicate(stack([found[rows.query], rows]) if rows.query in found else rows)
    return found


def a3m_text(alignment: Alignment) -> str:
    """Write an alignment as A3M."""
    titles = alignment.titles or ["query", *map(str, range(1, alignment.depth))]
    return "".join(f">{title}\n{row}\n" for title, row in zip(titles, a3m_rows(alignment), strict=True))


def a3m_rows(alignment: Alignment) -> list[str]:
    """Each row in A3M; inserted residues are written as x, since only their number is known."""
    letters = np.frombuffer(f"{LETTERS_X}-".encode(), np.uint8)[alignment.tokens]
    rows = []
    for columns, ends in zip(letters, np.cumsum(alignment.deletions + 1, axis=1) - 1, strict=True):
        row = np.full(ends[-1] + 1, ord("x"), np.uint8)
        row[ends] = columns
        rows.append(row.tobytes().decode("ascii"))
    return rows


def join_a3m(sequence: str, texts: Iterable[str]) -> str:
    """Concatenate A3M alignments of one query; the query row comes once."""
    rows = [row for text in texts for row in f"\n{text}".replace("\0", "").rstrip().split("\n>")[2:]]
    return "".join(f">{row}\n" for row in [f"query\n{sequence}", *rows])


def deduplicate(rows: ParsedAlignment) -> ParsedAlignment:
    """Drop rows whose aligned letters equal those of an earlier row, whatever their insertions."""
    first: dict[bytes, int] = {}
    for number, letters in enumerate(rows.letters):
        first.setdefault(letters.tobytes(), number)
    kept = list(first.values())
    return ParsedAlignment(tuple(rows.titles[k] for k in kept), rows.letters[kept], rows.deletions[kept])


def stack(parts: Sequence[ParsedAlignment]) -> ParsedAlignment:
    """The rows of several alignments of one query, in their order."""
    return ParsedAlignment(
        tuple(title for part in parts for title in part.titles),
        np.vstack([part.letters for part in parts]),
        np.vstack([part.deletions for part in parts]),
    )


def parse_a3m(text: str, path: Path) -> ParsedAlignment:
    """Parse A3M: upper case and '-' are columns, lower case are insertions, '.' is padding.

    As in an aligned FASTA file, the query may have gaps; what other rows have there are insertions.
    """
    before, records = fasta_records(text)
    _check_start(before, path)
    records = [(title, row) for title, row in records if title.partition(" ")[0] not in NO_SEQUENCES]
    if not records:
        raise InputError(f"{path}: has no row; expected a header line that starts with '>'")
    titles, rows = zip(*records, strict=True)
    written = [row.replace(".", "").rstrip("*") for row in rows]
    _check_query(written[0], titles[0], path)

    codes = np.frombuffer(("\n".join(written) + "\n").encode("ascii", "replace"), np.uint8)
    columns = np.flatnonzero((codes < ord("a")) | (codes > ord("z")))
    letters = codes[columns]
    ends = np.flatnonzero(letters == END)
    if (TOKENS[letters] < 0).sum() > len(ends):
        raise _no_letter(written, titles, path)
    _check_widths(np.diff(ends, prepend=-1) - 1, titles, path)
    # the last entry of each row is its line end; it would hold insertions after the last column, which are not used
    between = np.diff(columns, prepend=-1) - 1
    shape = len(written), -1
    return _in_query_columns(titles, letters.reshape(shape)[:, :-1], between.astype(np.int32).reshape(shape)[:, :-1])


def _in_query_columns(
    titles: tuple[str, ...], letters: NDArray[np.uint8], deletions: NDArray[np.int32]
) -> ParsedAlignment:
    """The columns where the query has a residue; what rows have in the others is inserted before the next of these."""
    gaps = letters[0] == GAP_BYTE
    if not gaps.any():
        return ParsedAlignment(titles, letters, deletions)
    inserted = np.cumsum(deletions + (gaps & (letters != GAP_BYTE)), axis=1, dtype=np.int32)[:, ~gaps]
    return ParsedAlignment(titles, letters[:, ~gaps], np.diff(inserted, axis=1, prepend=np.int32(0)))


def _check_start(before: str, path: Path) -> None:
    """Allow only comments before the first header; ColabFold's `#lengths<TAB>copies` must be of one chain."""
    for line in before.splitlines():
        if line.strip() and not line.startswith("#"):
            raise InputError(f"{path}: starts with '{line.strip()[:20]}'; expected a header line that starts with '>'")
        chains = re.fullmatch(r"#([\d,]+)\t([\d,]+)\s*", line)
        if chains and ("," in line or chains[2] != "1"):
            raise InputError(f"{path}: is an alignment of a complex; expected that of a single chain")


def _check_query(row: str, title: str, path: Path) -> None:
    for position, letter in enumerate(row, start=1):
        if letter.islower():
            raise InputError(
                f"{path}: {name_row(1, title)}, the query, has an insertion (lower case) at position {position}"
            )
    if not row.strip("-"):
        raise InputError(f"{path}: {name_row(1, title)}, the query, has no sequence")


def _check_widths(widths: NDArray[np.int64], titles: tuple[str, ...], path: Path) -> None:
    ragged = np.flatnonzero(widths != widths[0])
    if len(ragged):
        row = int(ragged[0])
        raise InputError(
            f"{path}: {name_row(row + 1, titles[row])} has {widths[row]} columns, the query has {widths[0]}"
        )


def _no_letter(written: list[str], titles: tuple[str, ...], path: Path) -> InputError:
    """Make the error for the first character that is neither a letter nor a gap."""
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
    """Parse Stockholm, in one block or several: columns where the first row has '-' or '.' are insertions."""
    parts, described = _stockholm_parts(text, path)
    titles = tuple(" ".join(filter(None, (name, described.get(name)))) for name in parts)
    written = ["".join(part).upper().replace(".", "-") for part in parts.values()]
    codes = np.frombuffer("".join(written).encode("ascii", "replace"), np.uint8)
    if (TOKENS[codes] < 0).any():
        raise _no_letter(written, titles, path)
    _check_widths(np.array([len(row) for row in written]), titles, path)

    _check_query(written[0], titles[0], path)
    letters = codes.reshape(len(written), -1)
    return _in_query_columns(titles, letters, np.zeros(letters.shape, np.int32))


def _stockholm_parts(text: str, path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The pieces of each row, one from each block, and the descriptions of rows that have one; by name."""
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
    return parts, dict(DESCRIPTION.findall(body))
