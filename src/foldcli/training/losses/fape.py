"""Frame aligned point error (Suppl. Sec. 1.9.2, Alg. 28)."""

import torch

from foldcli.geometry.rigid import Rigid
from foldcli.geometry.rigid_groups import HEAVY_ATOM_GROUPS
from foldcli.model.structure import StructureState
from foldcli.shapes import Atoms14, Float, Int, ResidueIndex, Tensor
from foldcli.training.losses.renaming import renamed
from foldcli.training.losses.truth import Truth

CLAMP = 10.0
LENGTH_SCALE = 10.0
EPSILON = 1e-4


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


def side_chain_fape(groups: Rigid, atoms: Atoms14, truth: Truth, aatype: ResidueIndex) -> Float[Tensor, "*b"]:
    """FAPE of all atoms in all rigid groups' frames [i, 8], symmetric atoms renamed (Suppl. Alg. 20, line 28)."""
    target = renamed(truth, atoms, aatype)
    limit = torch.full_like(atoms[..., 0, 0, 0], CLAMP)
    frames_mask, atoms_mask = target.frames_mask.flatten(-2), target.atoms_mask.flatten(-2)
    # Residues fill about half of the slots: dropping empty ones leaves a third of the frame-atom pairs, or fewer.
    f, a = _known(frames_mask), _known(atoms_mask)
    frames = Rigid(groups.rotation[..., HEAVY_ATOM_GROUPS, :, :], groups.translation[..., HEAVY_ATOM_GROUPS, :])
    return frame_aligned_error(
        _flat(frames, f), _flat(target.frames, f), frames_mask[..., f],
        atoms.flatten(-3, -2)[..., a, :], target.atoms.flatten(-3, -2)[..., a, :], atoms_mask[..., a], limit,
    )  # fmt: skip


def _known(mask: Float[Tensor, "*b n"]) -> Int[Tensor, " k"]:
    """Indices that are known in at least one sample."""
    return mask.reshape(-1, mask.shape[-1]).any(0).nonzero().squeeze(-1)


def _flat(frames: Rigid, chosen: Int[Tensor, " k"]) -> Rigid:
    """Flatten frames [i g] and select some of the [i * g]."""
    return Rigid(frames.rotation.flatten(-4, -3)[..., chosen, :, :], frames.translation.flatten(-3, -2)[..., chosen, :])


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
    distance = torch.minimum(distance, limit[..., None, None])
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
