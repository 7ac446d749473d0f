"""Confidence of a complex's chains and interfaces, from what a model predicts of its residues.

ipSAE (Dunbrack 2025, doi:10.1101/2025.02.10.637595) is a pTM of one chain over the residues whose aligned error is
small. pDockQ (Bryant et al. 2022, doi:10.1038/s41467-022-28865-w) and pDockQ2 (Zhu et al. 2023,
doi:10.1093/bioinformatics/btad424) are fits of DockQ. As in ColabFold, both are taken for each pair of chains.
"""

import itertools
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from foldcli.protein.residues import CA, CB
from foldcli.protein.structure import Interfaces, Structure

T = TypeVar("T", bound=Any)
CONTACT: Final = 8.0  # angstrom between CB atoms, CA where there is none
IPSAE_CUTOFF: Final = 15.0  # angstrom of aligned error, which its author gives for AlphaFold 2
PDOCKQ2_D0: Final = 10.0  # angstrom
# Of two sigmoids: height, slope, middle, floor.
PDOCKQ: Final = (0.724, 0.052, 152.611, 0.018)
PDOCKQ2: Final = (1.31, 0.075, 84.733, 0.005)
# AlphaFold 3: a chain clashes if so many or such a share of its atoms are so near (angstrom) to an atom of another
# chain, or of a residue that is not its neighbour.
CLASH_REACH: Final = 1.1
CLASHING_ATOMS: Final = 100
CLASHING_SHARE: Final = 0.5
ATOMS, ROWS = 256, 256  # atoms, and rows of pairs of residues, that are computed at once


def iptm(scores: NDArray[np.floating], structure: Structure) -> float:
    """Interface pTM of a whole complex: the best residue to align on, over the residues of all other chains.

    scores [i, k]: TM-score of chain k when aligned on residue i.
    """
    lengths = np.bincount(structure.chain_of)
    others = lengths * (structure.chain_of[:, None] != np.arange(len(lengths)))
    return float(((scores * others).sum(-1) / others.sum(-1)).max())


def interfaces(
    structure: Structure, plddt: NDArray[np.float32], pae: NDArray[np.float32], scores: NDArray[np.floating]
) -> Interfaces:
    """Confidence of all chains and pairs; scores [i, k, 2]: TM-score of chain k when aligned on residue i.

    By the length of the complex, and by the chain's own.
    """
    spans = [chain.span for chain in structure.chains]
    count = len(spans)
    one_way = np.array([[scores[a, k, 0].max() for k in range(count)] for a in spans], np.float64)
    found = {name: np.zeros((count, count)) for name in ("pae_min", "ipsae", "pdockq", "pdockq2")}
    touching = np.zeros((count, count), np.int64)
    for k, m in itertools.product(range(count), repeat=2):
        errors = pae[spans[k], spans[m]]
        found["pae_min"][k, m] = errors.min()
        if k != m:
            rows, columns = contacts(structure, spans[k], spans[m])
            surface = np.concatenate([plddt[spans[k]][np.unique(rows)], plddt[spans[m]][np.unique(columns)]])
            touching[k, m] = len(rows)
            found["ipsae"][k, m] = max(map(ipsae, _parts(errors)))
            found["pdockq"][k, m] = pdockq(surface, len(rows))
            found["pdockq2"][k, m] = pdockq2(surface, errors[rows, columns].astype(np.float64))
    return Interfaces(
        plddt=np.array([plddt[a].mean(dtype=np.float64) for a in spans]),
        ptm=np.array([scores[a, k, 1].max() for k, a in enumerate(spans)], np.float64),
        pair_ptm=np.maximum(one_way, one_way.T),
        contacts=touching,
        clash=has_clash(structure),
        **found,
    )


def contacts(structure: Structure, rows: slice, columns: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of residues of two ranges that are in contact, counted in each; residues without atoms are in none."""
    mask = structure.mask
    points = np.where(mask[:, CB, None], structure.positions[:, CB], structure.positions[:, CA]).astype(np.float64)
    points[~(mask[:, CA] | mask[:, CB])] = np.nan

    def near(some: NDArray[np.float64]) -> NDArray[np.bool_]:
        squares = sum((some[:, None, axis] - points[None, columns, axis]) ** 2 for axis in range(3))
        return np.asarray(squares <= CONTACT**2)

    found = [np.argwhere(near(some)) + np.array([k * ROWS, 0]) for k, some in enumerate(_parts(points[rows]))]
    first, second = np.concatenate(found).T
    return first, second


def _parts(values: NDArray[T]) -> Iterator[NDArray[T]]:
    """A few rows at a time: pairs of all residues of long chains are gigabytes."""
    return (values[start : start + ROWS] for start in range(0, len(values), ROWS))


def ipsae(errors: NDArray[np.floating]) -> float:
    """The best residue i to align on, over the residues j whose error [i, j] is small, which set d0 by their number."""
    errors = errors.astype(np.float64)
    small = errors < IPSAE_CUTOFF
    count = small.sum(1, keepdims=True)
    d0 = np.maximum(1, 1.24 * np.cbrt(count - 15) - 1.8)
    sums = (small / (1 + (errors / d0) ** 2)).sum(1, keepdims=True)
    return float((sums / np.maximum(count, 1)).max())


def pdockq(plddt: NDArray[np.float32], contacts: int) -> float:
    """From the pLDDT of an interface's residues and the number of their contacts; 0 without contacts."""
    return _sigmoid(float(plddt.mean(dtype=np.float64)) * np.log10(contacts), *PDOCKQ) if contacts else 0.0


def pdockq2(plddt: NDArray[np.float32], errors: NDArray[np.float64]) -> float:
    """From the pLDDT of an interface's residues and the aligned error of each contact; 0 without contacts."""
    if not len(errors):
        return 0.0
    closeness = (1 / (1 + (errors / PDOCKQ2_D0) ** 2)).mean()
    return _sigmoid(float(plddt.mean(dtype=np.float64)) * closeness, *PDOCKQ2)


def _sigmoid(x: float, height: float, slope: float, middle: float, floor: float) -> float:
    return float(height / (1 + np.exp(-slope * (x - middle))) + floor)


def has_clash(structure: Structure) -> bool:
    """Whether a chain clashes with others or with itself, as AlphaFold 3 defines it."""
    residue, _ = np.nonzero(structure.mask)
    points = structure.positions[structure.mask].astype(np.float64)
    chain, numbers = structure.chain_of[residue], structure.residue_index[residue]
    order = np.argsort(points[:, 0], kind="stable")  # near atoms are near in x, so few are compared with each other
    along = points[order, 0]
    clashing = np.zeros(len(points), np.bool_)
    for start in range(0, len(points), ATOMS):
        some = order[start : start + ATOMS]
        ends = along[[start, start + len(some) - 1]] + (-CLASH_REACH, CLASH_REACH)
        near = order[slice(*np.searchsorted(along, ends))]
        squares = sum((points[some, None, axis] - points[None, near, axis]) ** 2 for axis in range(3))
        apart = (chain[some, None] != chain[None, near]) | (np.abs(numbers[some, None] - numbers[None, near]) > 1)
        clashing[some] = (apart & (squares <= CLASH_REACH**2)).any(1)
    count, atoms = (np.bincount(chain, weights, len(structure.chains)) for weights in (clashing, None))
    return bool(((count > CLASHING_ATOMS) | (count > CLASHING_SHARE * atoms)).any())
