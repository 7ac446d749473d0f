"""A sequence to fold, and its alignment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Alignment:
    """A multiple sequence alignment; the query is its first row.

    tokens [s, i]: residue types in the order of `residues.LETTERS_X`, 21 for a gap; deletions [s, i]: how many residues
    row s has before column i that the query lacks; titles: the rows' headers as written, none where they are not known.
    """

    tokens: NDArray[np.int8]
    deletions: NDArray[np.int32]
    titles: Sequence[str] = ()

    @property
    def depth(self) -> int:
        return len(self.tokens)

    def rows(self, numbers: NDArray[np.int64]) -> Self:
        return type(self)(self.tokens[numbers], self.deletions[numbers])

    def columns(self, window: slice) -> Self:
        return type(self)(self.tokens[:, window], self.deletions[:, window])


@dataclass(frozen=True)
class Query:
    """One record of the input.

    name: unique in a run and safe as a file name; title: the header as written; sequence: upper case, the 20 amino
    acids and X; source: its place in the input, for messages (`seq.fasta: record 2`); notes: lines on letters that are
    not folded as they were written; chain_lengths: of a complex, the residues of each chain, whose sequences `sequence`
    has one after the other; empty for a single chain.
    """

    name: str
    title: str
    sequence: str
    source: str
    alignment: Alignment | None = None
    notes: tuple[str, ...] = ()
    chain_lengths: tuple[int, ...] = ()

    @classmethod
    def of_chains(
        cls, chains: Sequence[str], name: str, title: str, source: str, alignment: Alignment | None = None,
        notes: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """The record of these chains' sequences, one or several."""
        lengths = tuple(map(len, chains)) if len(chains) > 1 else ()
        return cls(name, title, "".join(chains), source, alignment, notes, lengths)

    @property
    def chains(self) -> tuple[str, ...]:
        """The sequence of each chain."""
        lengths = self.chain_lengths or (len(self.sequence),)
        ends = np.cumsum(lengths)
        return tuple(self.sequence[end - length : end] for end, length in zip(ends, lengths, strict=True))
