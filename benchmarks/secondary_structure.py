"""A baseline: chains of ideal helices, strands and coil, built from their true secondary structure (DSSP)."""

import math

import numpy as np
from numpy.typing import NDArray

# phi and psi in degrees of helix, strand and coil, and their DSSP states; omega is 180 degrees.
ANGLES = {"helix": (-63.0, -42.0), "strand": (-120.0, 135.0), "coil": (-65.0, -30.0)}
KIND = dict.fromkeys("HGI", "helix") | dict.fromkeys("EB", "strand")
# Bond lengths in angstrom and angles in degrees of N-CA, CA-C and C-N, to place the next atom from the last three.
BONDS = {"CA": (1.46, 122.0), "C": (1.52, 111.0), "N": (1.33, 116.0)}


def ideal_trace(dssp: str) -> NDArray[np.float64]:
    """CA atoms [i, 3] in angstrom of a chain with these DSSP states."""
    phi, psi = zip(*(ANGLES[KIND.get(state, "coil")] for state in dssp), strict=True)
    atoms = [np.zeros(3), np.array([BONDS["CA"][0], 0.0, 0.0])]
    atoms.append(_place([np.array([0.0, 1.0, 0.0]), *atoms], *BONDS["C"], 0.0))
    for k in range(1, len(dssp)):
        for name, torsion in (("N", psi[k - 1]), ("CA", 180.0), ("C", phi[k])):
            atoms.append(_place(atoms[-3:], *BONDS[name], torsion))
    return np.array(atoms[1::3])


def _place(last: list[NDArray[np.float64]], length: float, angle: float, torsion: float) -> NDArray[np.float64]:
    """Place an atom from the last three, by bond length, angle and torsion."""
    a, b, c = last
    forward = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, forward)
    normal /= np.linalg.norm(normal)
    bend, turn = math.radians(180 - angle), math.radians(torsion)
    side = math.sin(bend) * (math.cos(turn) * np.cross(normal, forward) + math.sin(turn) * normal)
    return c + length * (math.cos(bend) * forward + side)
