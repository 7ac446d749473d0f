"""A predicted chain and its confidence."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foldcli.protein.residues import ATOM37

# An atom: index of its residue in the chain, name, and coordinates in angstrom.
Atom = tuple[int, str, tuple[float, float, float]]


@dataclass(frozen=True)
class Structure:
    """One chain in the 37-slot atom layout of `residues.ATOM37`.

    sequence: one-letter codes; positions [i, 37, 3] in angstrom; mask [i, 37]: atoms present; residue_index [i]:
    their numbers; b_factor [i]: the file's B-factor column (pLDDT); hydrogens: of a relaxed structure, which have no
    slots; cyclic: the last residue is bonded to the first; chain_lengths: of a complex, the residues of each chain,
    which follow each other in all arrays; empty for a single chain.
    """

    sequence: str
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    residue_index: NDArray[np.int64]
    b_factor: NDArray[np.float32]
    chain: str = "A"
    hydrogens: Sequence[Atom] = ()
    cyclic: bool = False
    chain_lengths: tuple[int, ...] = ()

    def atoms(self) -> Iterator[Atom]:
        """Yield all atoms by residue, hydrogens last."""
        hydrogens: dict[int, list[Atom]] = defaultdict(list)
        for atom in self.hydrogens:
            hydrogens[atom[0]].append(atom)
        places = iter(self.positions[self.mask].tolist())  # at once: numbers of an array are slow to get one by one
        for i, present in enumerate(self.mask.tolist()):
            for name in itertools.compress(ATOM37, present):
                x, y, z = next(places)
                yield i, name, (x, y, z)
            yield from hydrogens[i]


@dataclass(frozen=True)
class Prediction:
    """A structure with its confidence, by one model from one seed.

    plddt [i] in 0..100; pae [i, j] in angstrom: expected error of residue j when aligned on residue i, and max_pae: its
    largest possible value, for models that predict it; ptm in 0..1; recycles: passes after the first; passes: what
    each pass predicted, where that is asked for, without aligned errors and representations.
    """

    structure: Structure
    plddt: NDArray[np.float32]
    model: str
    seed: int
    recycles: int
    ptm: float | None = None
    pae: NDArray[np.float32] | None = None
    max_pae: float | None = None
    representations: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    passes: Sequence["Prediction"] = ()

    @property
    def mean_plddt(self) -> float:
        return float(self.plddt.mean())
