"""A structure whose positions the first pass takes as those of a pass before it (Bennett et al. 2023).

doi:10.1038/s41467-023-38328-5
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.chain import Chain
from foldcli.data.formats.structure_files import read_structure
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.protein.residues import CA, CB
from foldcli.weights.files import sha256


class InitialGuess:
    """The chains of a structure file. InputError: it is no structure, or has no chain for a query."""

    def __init__(self, path: Path) -> None:
        self.path = path
        deposition = read_structure(path)
        self.chains = [deposition.chain(polymer) for polymer in deposition.polymers]

    def digest(self, query: Query) -> str:
        """A fingerprint of the file, for the job's key; InputError if it has no chain for the query."""
        self.positions(query)
        return self._digest

    def positions(self, query: Query) -> NDArray[np.float32]:
        """[i, 37, 3] in angstrom: CA, and CB or CA in its place, of the chain of this sequence, else of this length."""
        chain = self._chain(query)
        missing = np.flatnonzero(~chain.mask[:, CA])
        if len(missing):
            raise InputError(f"--initial-guess {self.path}: {chain.name} has no CA atom at position {missing[0] + 1}")
        guess = np.zeros_like(chain.positions)
        guess[:, CA] = chain.positions[:, CA]
        guess[:, CB] = np.where(chain.mask[:, CB, None], chain.positions[:, CB], chain.positions[:, CA])
        return guess

    @cached_property
    def _digest(self) -> str:
        return sha256(self.path)

    def _chain(self, query: Query) -> Chain:
        length = len(query.sequence)
        fitting = [chain for chain in self.chains if len(chain.sequence) == length]
        if not fitting:
            there = ", ".join(f"{chain.name} of {len(chain.sequence)}" for chain in self.chains)
            raise InputError(
                f"--initial-guess {self.path}: {query.name} has {length} residues, and no chain does; there is {there}"
            )
        return next((chain for chain in fitting if chain.sequence == query.sequence), fitting[0])
