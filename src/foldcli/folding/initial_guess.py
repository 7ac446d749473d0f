"""A structure whose positions the first pass takes as those of a pass before it (Bennett et al. 2023).

doi:10.1038/s41467-023-38328-5
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.chain import Chain
from foldcli.data.formats.structure_files import read_structure
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.protein.chain_names import chain_name
from foldcli.protein.residues import CA, CB
from foldcli.weights.files import sha256


class InitialGuess:
    """The chains of a structure file. InputError: it is no structure, or has no chain for one of a query."""

    def __init__(self, path: Path) -> None:
        self.path = path
        deposition = read_structure(path)
        self.chains = [deposition.chain(polymer) for polymer in deposition.polymers]

    def digest(self, query: Query) -> str:
        """A fingerprint of the file, for the job's key; InputError if it has no chain for the query."""
        self.positions(query)
        return self._digest

    def positions(self, query: Query) -> NDArray[np.float32]:
        """[i, 37, 3] in angstrom: CA, and CB or CA in its place, of a chain of the file for each chain of the query.

        That is the first of the same sequence that no chain before has taken, else the first of the same length.
        """
        left, guesses = list(self.chains), list[NDArray[np.float32]]()
        for sequence in query.chains:
            chain = left.pop(self._place(sequence, left, query))
            missing = np.flatnonzero(~chain.mask[:, CA])
            if len(missing):
                where = f"{chain.name} has no CA atom at position {missing[0] + 1}"
                raise InputError(f"--initial-guess {self.path}: {where}")
            guess = np.zeros_like(chain.positions)
            guess[:, CA] = chain.positions[:, CA]
            guess[:, CB] = np.where(chain.mask[:, CB, None], chain.positions[:, CB], chain.positions[:, CA])
            guesses.append(guess)
        return np.concatenate(guesses)

    @cached_property
    def _digest(self) -> str:
        return sha256(self.path)

    def _place(self, sequence: str, left: Sequence[Chain], query: Query) -> int:
        """Which of the chains left is taken for this sequence."""
        length = len(sequence)
        fitting = [place for place, chain in enumerate(left) if len(chain.sequence) == length]
        if not fitting:
            there = ", ".join(f"{chain.name} of {len(chain.sequence)}" for chain in left) or "none left"
            one = (
                f"chain {chain_name(query.chains.index(sequence))} of {query.name}"
                if query.chain_lengths
                else query.name
            )
            raise InputError(
                f"--initial-guess {self.path}: {one} has {length} residues; of its chains there is {there}"
            )
        return next((place for place in fitting if left[place].sequence == sequence), fitting[0])
