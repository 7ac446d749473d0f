"""Atoms from backbone frames and torsion angles, and conversion between the 14-slot and 37-slot layouts."""

import torch
import torch.nn.functional as F

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
    sin, cos = torch.cat([constant((0.0, 1.0), torsions).expand_as(torsions[..., :1, :]), torsions], -2).unbind(-1)
    zero, one = torch.zeros_like(sin), torch.ones_like(sin)
    about_x = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=-1).unflatten(-1, (3, 3))
    local = Rigid(default[..., :3, :3] @ about_x, default[..., :3, 3])
    parts = zip(local.rotation.unbind(-3), local.translation.unbind(-2), strict=True)
    frames = [Rigid(rotation, translation) for rotation, translation in parts]
    for g in range(5, 8):  # the frames of chi2 to chi4 are relative to the previous chi
        frames[g] = frames[g - 1].compose(frames[g])
    to_backbone = Rigid(
        torch.stack([f.rotation for f in frames], dim=-3), torch.stack([f.translation for f in frames], dim=-2)
    )
    return Rigid(backbone.rotation.unsqueeze(-3), backbone.translation.unsqueeze(-2)).compose(to_backbone)


def frames_to_atoms(aatype: ResidueIndex, frames: Rigid) -> Atoms14:
    """Place ideal atoms by the frames [i, 8] of their rigid groups, in angstrom (Suppl. Alg. 24, line 11)."""
    group = residue_table(residues.ATOM14_GROUP, aatype, frames.translation)
    rotation = frames.rotation.gather(-3, group[..., None, None].expand(*group.shape, 3, 3))
    translation = frames.translation.gather(-2, group[..., None].expand(*group.shape, 3))
    ideal = residue_table(residues.ATOM14_IDEAL, aatype, translation)
    atoms = (rotation @ ideal.unsqueeze(-1)).squeeze(-1) + translation
    return atoms * residue_table(residues.ATOM14_MASK, aatype, translation).unsqueeze(-1)


def atoms14_to_37(aatype: ResidueIndex, atoms: Atoms14) -> Atoms37:
    """Convert the 14-slot layout to 37 slots; slots that a residue type does not have are zero."""
    slot = residue_table(residues.ATOM37_TO_14, aatype, atoms)
    spread = atoms.gather(-2, slot[..., None].expand(*slot.shape, 3))
    return spread * residue_table(residues.ATOM37_MASK, aatype, atoms).unsqueeze(-1)


def atoms37_to_14(aatype: ResidueIndex, atoms: Float[Tensor, "*b i 37 d"]) -> Float[Tensor, "*b i 14 d"]:
    """Convert values of the 37-slot layout to 14 slots; slots that a residue type does not have are zero."""
    slot = residue_table(residues.ATOM14_TO_37, aatype, atoms)
    dense = atoms.gather(-2, slot[..., None].expand(*slot.shape, atoms.shape[-1]))
    return dense * residue_table(residues.ATOM14_MASK, aatype, atoms).unsqueeze(-1)


def pseudo_beta(aatype: ResidueIndex, atoms: Atoms37) -> Points:
    """CB of each residue, CA of glycine, in angstrom."""
    glycine = (aatype == residues.INDEX["G"]).unsqueeze(-1)
    return torch.where(glycine, atoms[..., residues.CA, :], atoms[..., residues.CB, :])


def distance_bin(
    rows: Points, columns: Float[Tensor, "*b j 3"], first: float, last: float, count: int
) -> Int[Tensor, "*b i j"]:
    """The bin of each distance between points, from 1; 0 below the first bin.

    The lower edges of the bins go from `first` to `last` angstrom.
    """
    edges = torch.linspace(first, last, count, device=rows.device, dtype=rows.dtype).square()
    squared = (rows.unsqueeze(-2) - columns.unsqueeze(-3)).square().sum(-1)
    return torch.bucketize(squared, edges)


def bin_table(weight: Float[Tensor, "c k"]) -> Float[Tensor, "bins c"]:
    """What each bin of `distance_bin` adds, where a linear layer of this weight has its one-hot vector as input."""
    return F.pad(weight.T, (0, 0, 1, 0))
