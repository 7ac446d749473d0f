"""What is to be folded: a named sequence, and the alignment that goes with it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Alignment:
    """Sequences aligned to a query, its own row first.

    tokens [s, i]: residue types in `residues.LETTERS_X` order, 21 a gap; deletions [s, i]: residues that row s has and
    the query has not, directly before column i.
    """

    tokens: NDArray[np.int8]
    deletions: NDArray[np.int32]

    @property
    def depth(self) -> int:
        return len(self.tokens)

    def rows(self, numbers: NDArray[np.int64]) -> Self:
        return type(self)(self.tokens[numbers], self.deletions[numbers])

    def columns(self, window: slice) -> Self:
        return type(self)(self.tokens[:, window], self.deletions[:, window])


@dataclass(frozen=True)
class Query:
    """One record of the input: `name` is unique in a run and safe as a file name, `title` is the header as written.

    sequence: upper case, the 20 amino acids and X; source: where it stands, for messages (`seq.fasta: record 2`).
    """

    name: str
    title: str
    sequence: str
    source: str
    alignment: Alignment | None = None
