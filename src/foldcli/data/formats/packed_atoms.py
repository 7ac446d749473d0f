"""Store coordinates as 16-bit integers, and rebuild the O and CB atoms that a backbone of N, CA and C implies.

Integers are hundredths of an angstrom from the chain's mean CA; MISSING marks an atom without coordinates.
"""

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import InputError
from foldcli.protein.residues import (
    ATOM14_IDEAL,
    ATOM14_MASK,
    ATOM14_TO_37,
    CA,
    CB,
    INDEX,
    UNKNOWN,
    C,
    N,
    O,
    residue_types,
)

ANGSTROM = 100
MISSING = np.iinfo(np.int16).min
BACKBONE = [N, CA, C]
# Angstrom; a peptide bond has 1.33, and residues with C and N further apart are not bonded.
LONGEST_BOND = 2.0

# An unknown residue has alanine's atoms.
_LIKE = np.array([*range(UNKNOWN), INDEX["A"]])
# Atoms after N, CA and C in the 14-slot layout: for each residue type their 37-slot indices [21, 11], and which exist.
OTHERS = ATOM14_TO_37[_LIKE, 3:]
HAS_OTHER = ATOM14_MASK[_LIKE, 3:] > 0
# O in the frame of psi, CB in the frame of the backbone, angstrom [21, 3].
IDEAL_O, IDEAL_CB = ATOM14_IDEAL[_LIKE, 3], ATOM14_IDEAL[_LIKE, 4]


def pack_atoms(
    sequence: str, positions: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Pack atoms of the 37-slot layout as integers: backbone [i, 3, 3] and other atoms [i, 11, 3].

    InputError: the chain reaches further than 327 angstrom from its middle.
    """
    aatype = residue_types(sequence)
    centre = positions[mask[:, CA], CA].mean(axis=0) if mask[:, CA].any() else np.zeros(3, np.float32)
    whole = np.rint((positions - centre) * ANGSTROM)
    if np.abs(whole[mask]).max(initial=0) > np.iinfo(np.int16).max:
        raise InputError("reaches further than 327 angstrom from its middle")
    integers = np.where(mask[..., None], whole, MISSING).astype(np.int16)
    others = np.take_along_axis(integers, OTHERS[aatype][..., None], axis=1)
    others[~HAS_OTHER[aatype]] = MISSING
    return integers[:, BACKBONE], others


def unpack_atoms(
    sequence: str, backbone: NDArray[np.int16], others: NDArray[np.int16] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Unpack positions [i, 37, 3] in angstrom and mask [i, 37]; without other atoms, O and CB are ideal."""
    aatype = residue_types(sequence)
    positions, mask = np.zeros((len(aatype), 37, 3), np.float32), np.zeros((len(aatype), 37), np.bool_)
    _place(positions, mask, np.broadcast_to(BACKBONE, backbone.shape[:2]), backbone, np.True_)
    if others is None:
        _imply_oxygen(aatype, positions, mask)
        _imply_beta(aatype, positions, mask)
    else:
        _place(positions, mask, OTHERS[aatype], others, HAS_OTHER[aatype])
    return positions, mask


def _place(
    positions: NDArray[np.float32],
    mask: NDArray[np.bool_],
    slots: NDArray[np.int64],
    integers: NDArray[np.int16],
    exists: NDArray[np.bool_] | np.bool_,
) -> None:
    rows, places = np.nonzero(exists & (integers != MISSING).all(-1))
    positions[rows, slots[rows, places]] = integers[rows, places] / np.float32(ANGSTROM)
    mask[rows, slots[rows, places]] = True


def _imply_oxygen(aatype: NDArray[np.int8], positions: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Place O in the peptide plane, opposite the next residue's N; the last residue gets none."""
    ca, c, following = positions[:-1, CA], positions[:-1, C], positions[1:, N]
    x = _unit(c - ca)
    y = _unit(_reject(c - following, x))
    ideal = IDEAL_O[aatype[:-1]]
    near = np.linalg.norm(following - c, axis=-1) < LONGEST_BOND
    mask[:-1, O] = mask[:-1, CA] & mask[:-1, C] & mask[1:, N] & near
    positions[:-1, O] = (c + ideal[:, :1] * x + ideal[:, 1:2] * y) * mask[:-1, O, None]


def _imply_beta(aatype: NDArray[np.int8], positions: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Place CB at its ideal position in the backbone frame, but for glycine."""
    n, ca, c = (positions[:, slot] for slot in BACKBONE)
    x = _unit(c - ca)
    y = _unit(_reject(n - ca, x))
    frame = np.stack([x, y, np.cross(x, y)], axis=-1)
    mask[:, CB] = mask[:, BACKBONE].all(axis=1) & (aatype != INDEX["G"])
    positions[:, CB] = (ca + np.einsum("ixk,ik->ix", frame, IDEAL_CB[aatype])) * mask[:, CB, None]


def _reject(v: NDArray[np.float32], axis: NDArray[np.float32]) -> NDArray[np.float32]:
    """The component of v perpendicular to a unit axis."""
    return v - (v * axis).sum(-1, keepdims=True) * axis


def _unit(v: NDArray[np.float32]) -> NDArray[np.float32]:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), np.float32(1e-6))
