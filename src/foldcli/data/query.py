"""A sequence to fold, and its alignment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foldcli.protein.residues import residue_types


@dataclass(frozen=True)
class Alignment:
    """A multiple sequence alignment; the query is its first row.

    tokens [s, i]: residue types in the order of `residues.LETTERS_X`, 21 for a gap; deletions [s, i]: how many residues
    row s has before column i that the query lacks; titles: the rows' headers as written, none where they are not known.
    """

    tokens: NDArray[np.int8]
    deletions: NDArray[np.int32]
    titles: Sequence[str] = ()

    @classmethod
    def of_sequence(cls, sequence: str) -> Self:
        """An alignment whose only row is the sequence."""
        tokens = residue_types(sequence)[None]
        return cls(tokens, np.zeros(tokens.shape, np.int32))

    @property
    def depth(self) -> int:
        return len(self.tokens)

    def rows(self, numbers: NDArray[np.int64]) -> Self:
        return type(self)(self.tokens[numbers], self.deletions[numbers])

    def columns(self, window: slice) -> Self:
        return type(self)(self.tokens[:, window], self.deletions[:, window])


@dataclass(frozen=True)
class EntityMsa:
    """The alignments of one sequence of a complex; None where the sequence itself would be the only row.

    unpaired: rows of its own; paired: row k belongs to the same organism as row k of the other sequences, and has only
    gaps where this sequence has no partner.
    """

    unpaired: Alignment | None = None
    paired: Alignment | None = None


@dataclass(frozen=True)
class Query:
    """One record of the input.

    name: unique in a run and safe as a file name; title: the header as written; sequence: upper case, the 20 amino
    acids and X; source: its place in the input, for messages (`seq.fasta: record 2`); notes: lines on letters that are
    not folded as they were written; chain_lengths: of a complex, the residues of each chain, whose sequences `sequence`
    has one after the other; empty for a single chain; msas: of a complex, in the place of `alignment`, those of each of
    its `entities`; empty where there are none.
    """

    name: str
    title: str
    sequence: str
    source: str
    alignment: Alignment | None = None
    notes: tuple[str, ...] = ()
    chain_lengths: tuple[int, ...] = ()
    msas: tuple[EntityMsa, ...] = ()

    @property
    def chains(self) -> tuple[str, ...]:
        """The sequence of each chain."""
        lengths = self.chain_lengths or (len(self.sequence),)
        ends = np.cumsum(lengths)
        return tuple(self.sequence[end - length : end] for end, length in zip(ends, lengths, strict=True))

    @property
    def entities(self) -> tuple[str, ...]:
        """The different sequences of the chains, in the order in which they come first."""
        return tuple(dict.fromkeys(self.chains))

    @property
    def is_aligned(self) -> bool:
        """Whether it comes with an alignment."""
        return self.alignment is not None or bool(self.msas)

    @property
    def depth(self) -> int:
        """Rows of its alignments, the query itself once; 1 for a sequence alone."""
        found = [self.alignment, *(one.unpaired for one in self.msas), *(one.paired for one in self.msas[:1])]
        return 1 + sum(alignment.depth - 1 for alignment in found if alignment)


def lengths_of(chains: Sequence[str]) -> tuple[int, ...]:
    """The `chain_lengths` of a query with these chains."""
    return tuple(map(len, chains)) if len(chains) > 1 else ()
