"""Atoms from backbone frames and torsion angles, and conversion between the 14-slot and 37-slot layouts."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from foldcli.geometry.rigid import Rigid
from foldcli.geometry.tables import constant
from foldcli.protein import residues
from foldcli.shapes import Atoms14, Atoms37, Float, Int, Points, ResidueIndex, Tensor


def residue_table(table: object, aatype: ResidueIndex, like: Tensor) -> Tensor:
    """Rows of a table by residue type, with dtype and device of `like`; integer tables stay integers."""
    return constant(table, like)[aatype]


def torsions_to_frames(aatype: ResidueIndex, backbone: Rigid, torsions: Float[Tensor, "*b i 7 2"]) -> Rigid:
    """Global frames [i, 8] of each residue's rigid groups, in angstrom (Suppl. Alg. 24, lines 2 to 10).

    torsions: sine and cosine of pre-omega, phi, psi, chi1 to chi4.
    """
    default = residue_table(residues.DEFAULT_FRAMES, aatype, torsions)
    angles = torch.cat([constant((0.0, 1.0), torsions).expand_as(torsions[..., :1, :]), torsions], -2)
    about_x = F.linear(angles, constant(ABOUT_X, angles), constant(UNTURNED, angles)).unflatten(-1, (4, 4))
    # 4 x 4 matrices, of which one product composes frames
    frames = list((default @ about_x).unbind(-3))
    for g in range(5, 8):  # the frames of chi2 to chi4 are relative to the previous chi
        frames[g] = frames[g - 1] @ frames[g]
    side_by_side = backbone.matrix() @ torch.cat(frames, dim=-1)
    placed = side_by_side.unflatten(-1, (len(frames), 4)).transpose(-2, -3)
    rotation, translation = placed.split([3, 1], dim=-1)
    return Rigid(rotation, translation.squeeze(-1))


def frames_to_atoms(aatype: ResidueIndex, frames: Rigid) -> Atoms37:
    """Place ideal atoms by the frames [i, 8] of their rigid groups, in angstrom (Suppl. Alg. 24, line 11).

    Slots that a residue type does not have are zero.
    """
    return _placed(aatype, frames, PLACES)


def frames_to_atoms14(aatype: ResidueIndex, frames: Rigid) -> Atoms14:
    """The same atoms in the 14-slot layout."""
    return _placed(aatype, frames, PLACES_14)


def _placed(aatype: ResidueIndex, frames: Rigid, places: NDArray[np.float32]) -> Float[Tensor, "*b i a 3"]:
    side_by_side = frames.matrix().transpose(-2, -3).flatten(-2)
    return (side_by_side @ residue_table(places, aatype, side_by_side)).mT


def _places() -> NDArray[np.float32]:
    """For each residue type and atom, its ideal place (x, y, z, 1) in the rows of its group [21, 8 x 4, 14]."""
    place = np.pad(residues.ATOM14_IDEAL, ((0, 0), (0, 0), (0, 1)), constant_values=1) * residues.ATOM14_MASK[..., None]
    group = np.eye(8, dtype=np.float32)[residues.ATOM14_GROUP]
    return np.einsum("rag,rad->rgda", group, place).reshape(len(place), -1, place.shape[1]).astype(np.float32)


PLACES_14 = _places()
PLACES = np.take_along_axis(PLACES_14, residues.ATOM37_TO_14[:, None], axis=-1) * residues.ATOM37_MASK[:, None]
# A rotation about x as a 4 x 4 matrix: what its sine and cosine add [16, 2] to the rest.
ABOUT_X, UNTURNED = np.zeros((16, 2), np.float32), np.zeros(16, np.float32)
UNTURNED[[0, 15]] = 1
ABOUT_X[[5, 10], 1] = 1
ABOUT_X[[6, 9], 0] = -1, 1


def atoms37_to_14(aatype: ResidueIndex, atoms: Float[Tensor, "*b i 37 d"]) -> Float[Tensor, "*b i 14 d"]:
    """Convert values of the 37-slot layout to 14 slots; slots that a residue type does not have are zero."""
    slot = residue_table(residues.ATOM14_TO_37, aatype, atoms)
    dense = atoms.gather(-2, slot[..., None].expand(*slot.shape, atoms.shape[-1]))
    return dense * residue_table(residues.ATOM14_MASK, aatype, atoms).unsqueeze(-1)


def pseudo_beta(aatype: ResidueIndex, atoms: Float[Tensor, "*b i 37 d"]) -> Float[Tensor, "*b i d"]:
    """CB of each residue, CA of glycine, or values of these atoms."""
    glycine = (aatype == residues.INDEX["G"]).unsqueeze(-1)
    return torch.where(glycine, atoms[..., residues.CA, :], atoms[..., residues.CB, :])


def distance_bin(
    rows: Points, columns: Float[Tensor, "*b j 3"], first: float, last: float, count: int
) -> Int[Tensor, "*b i j"]:
    """The bin of each distance between points, from 1; 0 below the first bin.

    The lower edges of the bins go from `first` to `last` angstrom.
    """
    squared = (rows.unsqueeze(-2) - columns.unsqueeze(-3)).square().sum(-1)
    return torch.bucketize(squared, constant(squared_edges(first, last, count), squared))


@cache
def squared_edges(first: float, last: float, count: int) -> tuple[float, ...]:
    """Squares of so many numbers from `first` to `last`, evenly spaced."""
    return tuple(np.square(np.linspace(first, last, count, dtype=np.float32)).tolist())


def bin_table(weight: Float[Tensor, "c k"]) -> Float[Tensor, "bins c"]:
    """What each bin of `distance_bin` adds, where a linear layer of this weight has its one-hot vector as input."""
    return F.pad(weight.T, (0, 0, 1, 0))
