"""A predicted chain, and what a model says of its own error."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Structure:
    """One chain in the 37-slot atom layout of `residues.ATOM37`.

    sequence: one letter for each residue; positions [i, 37, 3] in angstrom; mask [i, 37], true where an atom stands;
    residue_index [i], numbering from 1; b_factor [i], what the file's B column holds (pLDDT).
    """

    sequence: str
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    residue_index: NDArray[np.int64]
    b_factor: NDArray[np.float32]
    chain: str = "A"


@dataclass(frozen=True)
class Prediction:
    """A structure with its confidence, by one model from one seed.

    plddt [i] in 0..100; pae [i, j] in angstrom, the expected error of residue j when aligned on residue i, and max_pae,
    the largest value that it can take, for models that predict it; ptm in 0..1. recycles counts passes after the first.
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

    @property
    def mean_plddt(self) -> float:
        return float(self.plddt.mean())
