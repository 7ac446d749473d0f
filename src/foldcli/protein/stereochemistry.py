"""Ideal covalent geometry by residue type: bonds, angles, atom radii, and names of symmetric atoms."""

from importlib.resources import files
from math import cos, radians, sin
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foldcli.protein import residues

# Van der Waals radii of elements, in angstrom (Bondi 1964).
RADIUS: Final = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}
ATOM14_RADIUS: Final = np.array([[RADIUS[a[0]] if a else 0 for a in row] for row in residues.ATOM14], np.float32)

# The peptide bond C-N: length and standard deviation in angstrom, to any residue and to proline (Engh & Huber 2001).
PEPTIDE_BOND: Final = (1.329, 0.014)
PEPTIDE_BOND_TO_PROLINE: Final = (1.341, 0.016)
# Cosines of the angles CA-C-N and C-N-CA, and the standard deviation of the latter.
COS_CA_C_N: Final = -0.4473
COS_C_N_CA: Final = (-0.5203, 0.0353)


def _other_names() -> NDArray[np.int64]:
    """For each residue type and 14-slot atom, its slot after a rotation of the last chi by pi (Suppl. Table 3)."""
    other = np.tile(np.arange(14), (21, 1))
    for name in residues.PI_PERIODIC_LAST_CHI:
        atoms = residues.ATOM14[residues.NAMES.index(name)]
        for first in (atom for atom in atoms if atom.endswith("1")):
            pair = [atoms.index(first), atoms.index(f"{first[:-1]}2")]
            other[residues.NAMES.index(name), pair] = pair[::-1]
    return other


ATOM14_OTHER_NAME: Final = _other_names()
ATOM14_AMBIGUOUS: Final = np.arange(14) != ATOM14_OTHER_NAME

Measured = dict[tuple[str, ...], tuple[float, float]]


def _read() -> dict[str, Measured]:
    """Read mean and standard deviation of bonds (two atoms, angstrom) and angles (three atoms, degrees), by residue."""
    table: dict[str, Measured] = {name: {} for name in residues.NAMES}
    for line in files(__package__).joinpath("bonds.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, *atoms, mean, deviation = line.split()
            table[name][tuple(atoms)] = float(mean), float(deviation)
    return table


def _across(measured: Measured, atoms: tuple[str, ...]) -> tuple[float, float]:
    """Distance between the ends of an angle of three atoms, and its standard deviation from independent errors."""
    first, corner, last = atoms
    (a, da), (b, db) = (measured.get((x, corner)) or measured[(corner, x)] for x in (first, last))
    angle, dangle = (radians(value) for value in measured[atoms])
    length = (a * a + b * b - 2 * a * b * cos(angle)) ** 0.5
    by_angle, by_a, by_b = a * b * sin(angle), a - b * cos(angle), b - a * cos(angle)
    return length, float(np.linalg.norm([by_angle * dangle, by_a * da, by_b * db]) / length)


def distance_bounds(deviations: float, overlap: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lower and upper bounds, in angstrom, on distances of atoms within a residue: two tables [21, 14, 14].

    Atoms joined by a bond or an angle: mean plus or minus `deviations` standard deviations; others: lower bound is the
    sum of their radii less `overlap` (Suppl. Sec. 1.9.11).
    """
    there = residues.ATOM14_MASK[:, :, None] * residues.ATOM14_MASK[:, None, :] * (1 - np.eye(14, dtype=np.float32))
    lower = there * (ATOM14_RADIUS[:, :, None] + ATOM14_RADIUS[:, None, :] - np.float32(overlap))
    upper = there * np.float32(1e10)
    for residue, measured in enumerate(_read().values()):
        for atoms, bond in measured.items():
            length, deviation = bond if len(atoms) == 2 else _across(measured, atoms)
            ends = [residues.ATOM14[residue].index(atom) for atom in (atoms[0], atoms[-1])]
            for pair in (tuple(ends), tuple(ends[::-1])):
                lower[residue][pair] = length - deviations * deviation
                upper[residue][pair] = length + deviations * deviation
    return lower.astype(np.float32), upper.astype(np.float32)
