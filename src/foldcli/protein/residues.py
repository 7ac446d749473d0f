"""The 20 amino acids: names, atoms, torsions and ideal geometry, in AlphaFold's order and layouts.

Two atom layouts are used. The dense one has 14 slots, filled in the order in which `ideal_atoms.txt` lists a residue's
atoms; the sparse one has 37 slots, one for each heavy-atom name. Index 20 is X, an unknown residue without atoms.
"""

from importlib.resources import files
from typing import Final

import numpy as np
from Bio.Data.PDBData import protein_letters_1to3
from numpy.typing import NDArray

LETTERS: Final = "ARNDCQEGHILKMFPSTWYV"
LETTERS_X: Final = LETTERS + "X"
UNKNOWN: Final = 20
GAP: Final = 21
MASK: Final = 22

NAMES: Final = [*(protein_letters_1to3[letter] for letter in LETTERS), "UNK"]
INDEX: Final = {letter: i for i, letter in enumerate(LETTERS_X)}


def residue_types(sequence: str) -> NDArray[np.int8]:
    """The index of each letter in `LETTERS_X` [i]."""
    return np.array([INDEX[letter] for letter in sequence], np.int8)


ATOM37: Final = (
    "N CA C CB O CG CG1 CG2 OG OG1 SG CD CD1 CD2 ND1 ND2 OD1 OD2 SD "
    "CE CE1 CE2 CE3 NE NE1 NE2 OE1 OE2 CH2 NH1 NH2 OH CZ CZ2 CZ3 NZ OXT"
).split()  # fmt: skip
ATOM37_INDEX: Final = {name: i for i, name in enumerate(ATOM37)}
N, CA, C, CB, O = (ATOM37_INDEX[name] for name in ("N", "CA", "C", "CB", "O"))  # noqa: E741

# The chain of atoms of the chi torsions; chi k rotates about the bond between atoms k + 1 and k + 2, from 1.
CHI_CHAIN: Final = {
    "ALA": "", "ARG": "N CA CB CG CD NE CZ", "ASN": "N CA CB CG OD1", "ASP": "N CA CB CG OD1", "CYS": "N CA CB SG",
    "GLN": "N CA CB CG CD OE1", "GLU": "N CA CB CG CD OE1", "GLY": "", "HIS": "N CA CB CG ND1",
    "ILE": "N CA CB CG1 CD1", "LEU": "N CA CB CG CD1", "LYS": "N CA CB CG CD CE NZ", "MET": "N CA CB CG SD CE",
    "PHE": "N CA CB CG CD1", "PRO": "N CA CB CG CD", "SER": "N CA CB OG", "THR": "N CA CB OG1",
    "TRP": "N CA CB CG CD1", "TYR": "N CA CB CG CD1", "VAL": "N CA CB CG1", "UNK": "",
}  # fmt: skip
# The last chi of these residues rotates a symmetric group: adding pi only swaps atom names.
PI_PERIODIC_LAST_CHI: Final = ("ASP", "GLU", "PHE", "TYR")


def chi_atoms(name: str) -> list[list[str]]:
    """The four atoms of each chi torsion of residue `name`, chi1 first."""
    chain = CHI_CHAIN[name].split()
    return [chain[k : k + 4] for k in range(len(chain) - 3)]


def _read_ideal_atoms() -> dict[str, dict[str, tuple[int, NDArray[np.float64]]]]:
    table: dict[str, dict[str, tuple[int, NDArray[np.float64]]]] = {name: {} for name in NAMES}
    for line in files(__package__).joinpath("ideal_atoms.txt").read_text().splitlines():
        if not line.startswith("#"):
            residue, atom, group, *xyz = line.split()
            table[residue][atom] = int(group), np.array(xyz, dtype=np.float64)
    return table


IDEAL: Final = _read_ideal_atoms()
ATOM14: Final = [list(IDEAL[name]) + [""] * (14 - len(IDEAL[name])) for name in NAMES]


def _layout_tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    to37, to14 = np.zeros((21, 14), np.int64), np.zeros((21, 37), np.int64)
    mask14, mask37 = np.zeros((21, 14), np.float32), np.zeros((21, 37), np.float32)
    for residue, atoms in enumerate(ATOM14):
        for slot, atom in enumerate(atoms):
            if atom:
                to37[residue, slot], to14[residue, ATOM37_INDEX[atom]] = ATOM37_INDEX[atom], slot
                mask14[residue, slot] = mask37[residue, ATOM37_INDEX[atom]] = 1
    return to37, to14, mask14, mask37


# For each residue type: 14-slot -> 37-slot index [21, 14] and back [21, 37], and masks of filled slots.
ATOM14_TO_37, ATOM37_TO_14, ATOM14_MASK, ATOM37_MASK = _layout_tables()


def _torsion_tables() -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    atoms, mask, periodic = np.zeros((21, 4, 4), np.int64), np.zeros((21, 4), np.float32), np.zeros((21, 4), np.float32)
    for residue, name in enumerate(NAMES):
        for k, quartet in enumerate(chi_atoms(name)):
            atoms[residue, k] = [ATOM37_INDEX[atom] for atom in quartet]
            mask[residue, k] = 1
            periodic[residue, k] = name in PI_PERIODIC_LAST_CHI and k == len(chi_atoms(name)) - 1
    return atoms, mask, periodic


# For each residue type: atoms of the chi torsions [21, 4, 4] (37-slot), masks of existing and pi-periodic ones [21, 4].
CHI_ATOMS, CHI_MASK, CHI_PI_PERIODIC = _torsion_tables()


def _frame(x: NDArray[np.float64], y: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """4 x 4 transform with its first axis along x and its second in the plane of x and y (Gram-Schmidt)."""
    ex = x / np.linalg.norm(x)
    ey = y - np.dot(y, ex) * ex
    ey /= np.linalg.norm(ey)
    frame = np.eye(4)
    frame[:3] = np.stack([ex, ey, np.cross(ex, ey), origin], axis=1)
    return frame


def _default_frames() -> NDArray[np.float32]:
    """Transform of each rigid group to its parent at torsion 0 (Suppl. Alg. 24): [21, 8, 4, 4].

    Groups: backbone, pre-omega (identity), phi, psi, chi1 to chi4; groups that a residue lacks are zero.
    """
    frames = np.zeros((21, 8, 4, 4))
    for residue, name in enumerate(NAMES[:20]):
        at = {atom: xyz for atom, (_, xyz) in IDEAL[name].items()}
        frames[residue, :2] = np.eye(4)
        frames[residue, 2] = _frame(at["N"] - at["CA"], np.array([1.0, 0, 0]), at["N"])
        frames[residue, 3] = _frame(at["C"] - at["CA"], at["CA"] - at["N"], at["C"])
        for k, (first, second, third, _) in enumerate(chi_atoms(name)):
            if k == 0:
                frames[residue, 4] = _frame(at[third] - at[second], at[first] - at[second], at[third])
            else:  # chi k's axis starts at the origin of the group before it
                frames[residue, 4 + k] = _frame(at[third], np.array([-1.0, 0, 0]), at[third])
    return frames.astype(np.float32)


DEFAULT_FRAMES: Final = _default_frames()


def _ideal_tables() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    group, position = np.zeros((21, 14), np.int64), np.zeros((21, 14, 3), np.float32)
    for residue, atoms in enumerate(ATOM14):
        for slot, atom in enumerate(atoms):
            if atom:
                group[residue, slot], position[residue, slot] = IDEAL[NAMES[residue]][atom]
    return group, position


# For each residue type and 14-slot atom: its rigid group [21, 14] and its ideal position in it [21, 14, 3], angstrom.
ATOM14_GROUP, ATOM14_IDEAL = _ideal_tables()
