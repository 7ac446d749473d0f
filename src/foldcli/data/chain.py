"""A chain of an experimental structure, with its alignment and templates: what training samples are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldcli.data.query import Alignment


@dataclass(frozen=True)
class Template:
    """A known structure aligned to a query of i residues.

    aatype [i]: 0..20, and 21 for a gap; positions [i, 37, 3] in angstrom and mask [i, 37] in the slots of
    `residues.ATOM37`, missing atoms at the origin.
    """

    name: str
    aatype: NDArray[np.int8]
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Chain:
    """One chain of a known structure.

    sequence: the 20 amino acids and X, including residues without coordinates; positions [i, 37, 3] in angstrom and
    mask [i, 37], missing atoms at the origin; resolution in angstrom, 0 where there is none; profile [i, 20]: amino
    acid frequencies in each column of an alignment that is not kept itself, in the order of `residues.LETTERS`.
    """

    name: str
    sequence: str
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    resolution: float = 0.0
    alignment: Alignment | None = None
    profile: NDArray[np.float32] | None = None
    templates: Sequence[Template] = ()
