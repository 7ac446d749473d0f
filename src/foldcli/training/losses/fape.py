"""Frame aligned point error (Suppl. Sec. 1.9.2, Alg. 28)."""

import torch

from foldcli.geometry.rigid import Rigid
from foldcli.geometry.rigid_groups import HEAVY_ATOM_GROUPS, heavy_atom_groups
from foldcli.model.structure import StructureState
from foldcli.shapes import Atoms14, Float, Int, ResidueIndex, Tensor
from foldcli.training.losses.renaming import Target, renamed
from foldcli.training.losses.truth import Truth

CLAMP = 10.0
LENGTH_SCALE = 10.0
EPSILON = 1e-4
# Of the 14 slots N, CA, C, O and CB come first, and of groups with heavy atoms those that place them.
BACKBONE_ATOMS, BACKBONE_GROUPS = 5, 2


def backbone_fape(states: list[StructureState], truth: Truth, clamped: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """FAPE of CA atoms in backbone frames, averaged over the structure module's layers (Suppl. Alg. 20, line 17).

    clamped: 1 for samples whose errors are clamped at 10 angstrom, 0 for the others (Suppl. Sec. 1.11.5).
    """
    frames = Rigid(
        torch.stack([state.frames.rotation for state in states], dim=-4),
        torch.stack([state.frames.translation for state in states], dim=-3),
    )
    target, mask = truth.backbone, truth.backbone_mask.unsqueeze(-2)
    target = Rigid(target.rotation.unsqueeze(-4), target.translation.unsqueeze(-3))
    limit = torch.where(clamped > 0, CLAMP, torch.inf).unsqueeze(-1)
    layers = frame_aligned_error(frames, target, mask, frames.translation, target.translation, mask, limit)
    return layers.mean(-1)


def side_chain_fape(
    groups: Rigid, atoms: Atoms14, truth: Truth, aatype: ResidueIndex, side_chains: bool = True
) -> Float[Tensor, "*b"]:
    """FAPE of all atoms in all rigid groups' frames [i, 8], symmetric atoms renamed (Suppl. Alg. 20, line 28).

    side_chains: whether atoms beyond CB count.
    """
    target = renamed(truth, atoms, aatype) if side_chains else Target(truth.atoms, truth.atoms_mask, truth.frames)
    limit = torch.full_like(atoms[..., 0, 0, 0], CLAMP)
    g, n = (len(HEAVY_ATOM_GROUPS), atoms.shape[-2]) if side_chains else (BACKBONE_GROUPS, BACKBONE_ATOMS)
    frames_mask, atoms_mask = truth.frames_mask[..., :g].flatten(-2), target.atoms_mask[..., :n].flatten(-2)
    frames, target_frames = _flat(heavy_atom_groups(groups), g), _flat(target.frames, g)
    points, target_points = (x[..., :n, :].flatten(-3, -2) for x in (atoms, target.atoms))
    if atoms.is_cpu:
        # Residues fill about half of the slots: dropping empty ones leaves a third of the frame-atom pairs, or fewer.
        # On a GPU it would cost more to wait until it has told which these are.
        f, a = _known(frames_mask), _known(atoms_mask)
        frames, target_frames = (
            Rigid(x.rotation[..., f, :, :], x.translation[..., f, :]) for x in (frames, target_frames)
        )
        points, target_points = points[..., a, :], target_points[..., a, :]
        frames_mask, atoms_mask = frames_mask[..., f], atoms_mask[..., a]
    return frame_aligned_error(frames, target_frames, frames_mask, points, target_points, atoms_mask, limit)


def _known(mask: Float[Tensor, "*b n"]) -> Int[Tensor, " k"]:
    """Indices that are known in at least one sample."""
    return mask.reshape(-1, mask.shape[-1]).any(0).nonzero().squeeze(-1)


def _flat(frames: Rigid, groups: int) -> Rigid:
    """The first groups of each residue's frames [i g], in one row."""
    rotation, translation = frames.rotation[..., :groups, :, :], frames.translation[..., :groups, :]
    return Rigid(rotation.flatten(-4, -3), translation.flatten(-3, -2))


def frame_aligned_error(
    frames: Rigid, target_frames: Rigid, frames_mask: Float[Tensor, "*#b f"],
    points: Float[Tensor, "*#b p 3"], target_points: Float[Tensor, "*#b p 3"], points_mask: Float[Tensor, "*#b p"],
    limit: Float[Tensor, "*#b"],
) -> Float[Tensor, "*b"]:  # fmt: skip
    """FAPE: mean distance between points in frames [f] and target points in target frames, / 10 A (Suppl. Alg. 28).

    Lengths are in angstrom; distances are clamped at `limit`, beyond which they have no gradient.
    """
    offset = _local_offsets(frames, target_frames, points, target_points)
    distance = (offset.square().sum(-3) + EPSILON).sqrt()
    distance = distance.clamp(max=limit[..., None, None])
    seen = (distance @ points_mask.unsqueeze(-1)).squeeze(-1)
    pairs = frames_mask.sum(-1) * points_mask.sum(-1)
    return (seen * frames_mask).sum(-1) / ((pairs + EPSILON) * LENGTH_SCALE)


def _local_offsets(
    frames: Rigid, target_frames: Rigid, points: Float[Tensor, "*#b p 3"], target_points: Float[Tensor, "*#b p 3"]
) -> Float[Tensor, "*b 3 f p"]:
    """Local coordinates of each point [p] in each frame [f], minus those of the target, in angstrom."""
    # One product [3 f, 7] x [7, p] instead of two sets of local points and their difference: less memory traffic.
    to_local, to_target = torch.broadcast_tensors(frames.rotation.mT, -target_frames.rotation.mT)
    shift = to_local @ frames.translation.unsqueeze(-1) + to_target @ target_frames.translation.unsqueeze(-1)
    left = torch.cat([to_local, to_target, -shift], dim=-1).transpose(-2, -3).flatten(-3, -2)
    points, target_points = torch.broadcast_tensors(points, target_points)
    right = torch.cat([points, target_points, torch.ones_like(points[..., :1])], dim=-1)
    return (left @ right.mT).unflatten(-2, (3, -1))
