"""Alignments of a complex in one A3M file, as ColabFold writes them.

The first line is `#LENGTHS<TAB>COPIES`: residues and number of chains of each sequence. Every row has the columns of
all sequences, one after the other: the query, then rows that are paired over several sequences, with a name for each
between tabs, then rows of one sequence, with gaps in the others.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.formats.alignment import (
    GAP_BYTE,
    ParsedAlignment,
    a3m_rows,
    deduplicate,
    name_row,
    parse_a3m,
    parse_alignments,
)
from foldcli.data.formats.letters import AS_ALPHAFOLD
from foldcli.data.formats.text_files import read_text
from foldcli.data.query import Alignment, EntityMsa, Query
from foldcli.errors import InputError
from foldcli.protein.residues import GAP

FIRST_LINE = re.compile(r"#([\d,]+)\t([\d,]+)\s*")
FIRST_NAME = 101  # of the first sequence; the others follow
MOST_RESIDUES = 100_000  # of all chains
NO_NAME = "-"  # of a sequence that has no partner in a paired row


@dataclass(frozen=True)
class ComplexAlignment:
    """What a file has: each different sequence as written, how many chains have it, and its alignments."""

    written: tuple[str, ...]
    copies: tuple[int, ...]
    msas: tuple[EntityMsa, ...]

    @property
    def entities(self) -> tuple[str, ...]:
        """The sequences in the letters that are folded."""
        return tuple(entity.translate(AS_ALPHAFOLD) for entity in self.written)

    @property
    def chains(self) -> tuple[str, ...]:
        """The sequence of each chain, as written."""
        return tuple(entity for entity, count in zip(self.written, self.copies, strict=True) for _ in range(count))


def is_complex(text: str) -> bool:
    """Whether the first line says that there are several chains."""
    found = FIRST_LINE.fullmatch(text.lstrip("\n").partition("\n")[0])
    return found is not None and ("," in found[0] or found[2] != "1")


def read_blocks(path: Path) -> tuple[dict[str, ParsedAlignment], dict[frozenset[str], ComplexAlignment]]:
    """All alignments of a file, by sequence, and by sequences; InputError as of `parse_alignments`, `parse_complex`."""
    alone: dict[str, ParsedAlignment] = {}
    complexes: dict[frozenset[str], ComplexAlignment] = {}
    for block in filter(str.strip, read_text(path, separator=True).split("\0")):
        if is_complex(block):
            found = parse_complex(block, path)
            complexes[frozenset(found.entities)] = found
        else:
            alone |= parse_alignments(block, path)
    return alone, complexes


def parse_complex(text: str, path: Path) -> ComplexAlignment:
    """Parse A3M text for which `is_complex`; InputError as of `parse_a3m`, or the first line does not fit the rows."""
    first, _, rest = text.lstrip("\n").partition("\n")
    rows = parse_a3m(rest, path)
    lengths, copies = _counts(first, path)
    _check_query(rows, lengths, path)
    ends = np.cumsum(lengths)
    columns = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    entities = tuple(rows.letters[0, part].tobytes().decode("ascii") for part in columns)
    if len(entities) == 1:
        return ComplexAlignment(entities, copies, (EntityMsa(informative(deduplicate(rows).alignment())),))
    found = ComplexAlignment(entities, copies, _split(rows, columns))
    if len(set(found.entities)) < len(entities):
        raise InputError(f"{path}: line 1 tells equal sequences apart; give a sequence once, with its number of copies")
    return found


def _counts(first: str, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Lengths and copies of the sequences."""
    found = FIRST_LINE.fullmatch(first)
    assert found  # or `is_complex` is false
    try:
        lengths, copies = (tuple(map(int, part.split(","))) for part in found.groups())
    except ValueError:  # an empty part or a number of thousands of digits
        lengths, copies = (), ()
    if not lengths or len(lengths) != len(copies) or min(*lengths, *copies) < 1:
        raise InputError(
            f"{path}: line 1 is '{first.strip()[:40]}'; expected a length and a number of copies for each sequence, "
            "such as #120,95<TAB>2,1"
        )
    if (total := sum(length * count for length, count in zip(lengths, copies, strict=True))) > MOST_RESIDUES:
        raise InputError(f"{path}: line 1 is of {total} residues in all; at most {MOST_RESIDUES} are read")
    return lengths, copies


def _check_query(rows: ParsedAlignment, lengths: Sequence[int], path: Path) -> None:
    total, there = sum(lengths), len(rows.query)
    if total != there:
        raise InputError(
            f"{path}: line 1 has lengths {', '.join(map(str, lengths))}, {total} in all, but "
            f"{name_row(1, rows.title)} has {there} residues"
        )
    names = rows.title.split("\t")
    if len(names) > 1 and len(names) != len(lengths):
        raise InputError(f"{path}: row 1 names {len(names)} sequences, line 1 has {len(lengths)}")
    if twice := [name for k, name in enumerate(names) if name in names[:k]]:
        raise InputError(f"{path}: row 1 names two sequences '{twice[0][:40]}'; give each a name of its own")


def _split(rows: ParsedAlignment, columns: Sequence[slice]) -> tuple[EntityMsa, ...]:
    """The alignments of each sequence: paired are the query and rows of several sequences or with as many names."""
    there = np.stack([(rows.letters[:, part] != GAP_BYTE).any(1) for part in columns], axis=1)
    named = np.array([title.count("\t") == len(columns) - 1 for title in rows.titles])
    together = (there.sum(1) > 1) | (named & there.any(1))
    paired = [informative(alignment) for alignment in _of_columns(_taken(rows, together), columns)]
    msas = []
    for number, part in enumerate(columns):
        own = ~together & there[:, number]
        own[0] = True  # the query
        alone = _taken(rows, own)
        alone = deduplicate(ParsedAlignment(alone.titles, alone.letters[:, part], alone.deletions[:, part]))
        msas.append(EntityMsa(informative(alone.alignment()), paired[number]))
    return tuple(msas)


def paired_rows(text: str, path: Path, sequences: Sequence[str]) -> list[ParsedAlignment]:
    """Rows of each sequence, of which row k belongs to row k of the others; NUL separates the sequences.

    InputError: as of `parse_a3m`, or they are of other sequences or not as many of each.
    """
    rows = [parse_a3m(block, path) for block in text.split("\0") if block.strip()]
    if [one.query for one in rows] != list(sequences):
        raise InputError(f"{path}: is the alignment of other sequences than those sent")
    if len({len(one.letters) for one in rows}) > 1:
        raise InputError(f"{path}: has {', '.join(str(len(one.letters)) for one in rows)} rows, which are no pairs")
    return rows


def join_paired(parts: Sequence[ParsedAlignment]) -> list[Alignment]:
    """Alignments whose rows are paired by their numbers, without those that come twice in all of them."""
    ends = np.cumsum([part.letters.shape[1] for part in parts])
    columns = [slice(end - part.letters.shape[1], end) for end, part in zip(ends, parts, strict=True)]
    names = ([title.replace("\t", " ") for title in part.titles] for part in parts)
    titles = ["\t".join(of_row) for of_row in zip(*names, strict=True)]
    letters, deletions = (np.hstack([getattr(part, name) for part in parts]) for name in ("letters", "deletions"))
    return _of_columns(ParsedAlignment(tuple(titles), letters, deletions), columns)


def _of_columns(rows: ParsedAlignment, columns: Sequence[slice]) -> list[Alignment]:
    """The alignment in each part of the columns, without rows that come twice; a name between tabs is its part's."""
    rows = deduplicate(rows)
    split = [title.split("\t") for title in rows.titles]
    names = [of_row if len(of_row) == len(columns) else ["\t".join(of_row)] * len(columns) for of_row in split]
    parts = (
        ParsedAlignment(tuple(of_row[k] for of_row in names), rows.letters[:, part], rows.deletions[:, part])
        for k, part in enumerate(columns)
    )
    return [part.alignment() for part in parts]


def _taken(rows: ParsedAlignment, chosen: NDArray[np.bool_]) -> ParsedAlignment:
    titles = tuple(title for title, taken in zip(rows.titles, chosen, strict=True) if taken)
    return ParsedAlignment(titles, rows.letters[chosen], rows.deletions[chosen])


def informative(alignment: Alignment | None) -> Alignment | None:
    """The alignment, None if the query is its only row."""
    return alignment if alignment and alignment.depth > 1 else None


def complex_a3m_text(query: Query) -> str:
    """Write the alignments of a complex, as `parse_complex` takes them back."""
    entities = query.entities
    copies = [query.chains.count(entity) for entity in entities]
    lines = [f"#{','.join(map(str, map(len, entities)))}\t{','.join(map(str, copies))}"]
    names = [str(FIRST_NAME + number) for number in range(len(entities))]
    lines += [">" + "\t".join(names), "".join(entities)]
    pairs = [one.paired for one in query.msas if one.paired]
    if pairs:
        texts = [a3m_rows(alignment) for alignment in pairs]
        for row in range(1, pairs[0].depth):
            lines += [">" + "\t".join(_name(alignment, row) for alignment in pairs)]
            lines += ["".join(of_entity[row] for of_entity in texts)]
    for number, one in enumerate(query.msas):
        before, after = ("-" * sum(map(len, part)) for part in (entities[:number], entities[number + 1 :]))
        alone = one.unpaired or Alignment.of_sequence(entities[number])
        for row, text in enumerate(a3m_rows(alone)):
            lines += [f">{names[number] if row == 0 else _name(alone, row)}", f"{before}{text}{after}"]
    return "\n".join(lines) + "\n"


def _name(alignment: Alignment, row: int) -> str:
    """A row's name, which has no tab: these separate names."""
    if (alignment.tokens[row] == GAP).all():
        return NO_NAME
    name = alignment.titles[row] if alignment.titles else str(row)
    return name.replace("\t", " ") or NO_NAME
