"""Frames of rigid groups from known atoms: the inverse of Suppl. Alg. 24."""

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.geometry.atoms import residue_table
from foldcli.geometry.rigid import Rigid, rigid_from_3_points
from foldcli.geometry.tables import constant
from foldcli.protein import residues
from foldcli.protein.residues import CA, C, N, O
from foldcli.shapes import Atoms37, Atoms37Mask, Float, ResidueIndex, Tensor

# The groups that have heavy atoms: backbone, psi and chi1 to chi4; pre-omega and phi have hydrogens only.
HEAVY_ATOM_GROUPS = [0, 3, 4, 5, 6, 7]


def heavy_atom_groups(groups: Rigid) -> Rigid:
    """Those of all groups' frames [i, 8] that are in HEAVY_ATOM_GROUPS."""
    backbone, _, rotations = groups.rotation.split([1, 2, 5], dim=-3)
    origin, _, translations = groups.translation.split([1, 2, 5], dim=-2)
    return Rigid(torch.cat([backbone, rotations], dim=-3), torch.cat([origin, translations], dim=-2))


def _base_tables() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """37-slots of three atoms of each group [21, 6, 3] (on the axis, origin, in the plane), and which groups exist."""
    backbone = np.tile([[C, CA, N], [CA, C, O]], (21, 1, 1))
    exists = np.concatenate([np.ones((21, 2), np.float32), residues.CHI_MASK], axis=1)
    return np.concatenate([backbone, residues.CHI_ATOMS[:, :, 1:]], axis=1), exists


BASE_ATOMS, EXISTS = _base_tables()
# Factors of a frame's axes. The backbone's x axis points to C, where `rigid_from_3_points` points it away.
MIRROR = np.ones((6, 1, 3), np.float32)
MIRROR[0, 0] = -1, 1, -1
# In symmetric groups, swapping their equivalent atoms' names turns the frame by pi about x.
TURNED = np.repeat(1 - 2 * np.pad(residues.CHI_PI_PERIODIC, ((0, 0), (2, 0)))[..., None], 3, axis=-1)
TURNED[..., 0] = 1


def backbone_frames(atoms: Float[Tensor, "*b 3 3"]) -> Rigid:
    """Frames from N, CA and C, in angstrom: CA lies at the origin, C on the x axis (Suppl. Alg. 21)."""
    n, ca, c = atoms.unbind(-2)
    found = rigid_from_3_points(c, ca, n)
    return Rigid(found.rotation * constant(MIRROR[0], atoms), found.translation)


def group_frames(
    aatype: ResidueIndex, positions: Atoms37, mask: Atoms37Mask
) -> tuple[Rigid, Rigid, Float[Tensor, "*b i 6"]]:
    """Frames [i, 6] of the groups in HEAVY_ATOM_GROUPS, in angstrom (Suppl. Alg. 21, Table 2).

    Returns the frames, those after swapping the names of equivalent atoms (Suppl. Table 3), and a mask of groups whose
    atoms are all known; the other frames are finite but meaningless.
    """
    base = residue_table(BASE_ATOMS, aatype, positions)
    index = base.flatten(-2)
    points = positions.gather(-2, index[..., None].expand(*index.shape, 3)).unflatten(-2, (6, 3))
    there = mask.gather(-1, index).unflatten(-1, (6, 3)).amin(-1) * residue_table(EXISTS, aatype, mask)
    found = rigid_from_3_points(*points.unbind(-2))
    rotation = found.rotation * constant(MIRROR, positions)
    turned = residue_table(TURNED, aatype, positions).unsqueeze(-2)
    return Rigid(rotation, found.translation), Rigid(rotation * turned, found.translation), there
