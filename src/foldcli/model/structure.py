"""The structure module: frames and torsion angles from the single and pair representations (Suppl. Alg. 20)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from foldcli.config import StructureConfig
from foldcli.geometry.atoms import frames_to_atoms, torsions_to_frames
from foldcli.geometry.rigid import Rigid, quaternion_to_rotation, update_quaternion
from foldcli.geometry.tables import constant
from foldcli.model.ipa import InvariantPointAttention, SharedTerms
from foldcli.model.layers import LayerNorm, widened
from foldcli.shapes import Atoms37, Float, Pair, ResidueIndex, Single, StartFrames, Tensor

UNTURNED = np.eye(3, dtype=np.float32)


@dataclass(frozen=True)
class StructureState:
    """Output of one layer: backbone frames in angstrom; torsions (sine, cosine) normalised, and raw."""

    frames: Rigid
    torsions: Float[Tensor, "*b i 7 2"]
    raw_torsions: Float[Tensor, "*b i 7 2"]


class TorsionAngles(nn.Module):
    """Predict the seven torsion angles of each residue from each layer's output (Suppl. Alg. 20, lines 11 to 14)."""

    def __init__(self, config: StructureConfig, c_s: int) -> None:
        super().__init__()
        c = config.c_angles
        self.current = nn.Linear(c_s, c)
        self.initial = nn.Linear(c_s, c)
        self.inner = nn.ModuleList(nn.Linear(c, c) for _ in range(config.angle_blocks))
        self.outer = nn.ModuleList(nn.Linear(c, c) for _ in range(config.angle_blocks))
        self.angles = nn.Linear(c, 14)

    def forward(self, s: Float[Tensor, "layers *b i c_s"], initial: Single) -> Float[Tensor, "layers *b i 7 2"]:
        a = self.current(s.relu()) + self.initial(initial.relu())
        for inner, outer in zip(self.inner, self.outer, strict=True):
            a = a + outer(inner(a.relu()).relu())
        return self.angles(a.relu()).unflatten(-1, (7, 2))


@dataclass(frozen=True)
class Backbone:
    """Each residue's frame, in the structure module's units of length, and the unit quaternion of its rotation."""

    frames: Rigid
    quaternion: Float[Tensor, "*b i 4"]

    @classmethod
    def at(cls, translation: Float[Tensor, "*b i 3"], quaternion: Float[Tensor, "*b i 4"]) -> "Backbone":
        return cls(Rigid(quaternion_to_rotation(quaternion), translation), quaternion)

    @classmethod
    def at_origin(cls, s: Single) -> "Backbone":
        """Frames for these residues, unturned."""
        rotation = constant(UNTURNED, s).expand(*s.shape[:-1], 3, 3)
        quaternion = constant((1.0, 0.0, 0.0, 0.0), s).expand(*s.shape[:-1], 4)
        return cls(Rigid(rotation, s.new_zeros(*s.shape[:-1], 3)), quaternion)


class StructureLayer(nn.Module):
    """One layer; all layers share these weights (Suppl. Alg. 20, lines 6 to 10)."""

    def __init__(self, config: StructureConfig, c_s: int, c_z: int) -> None:
        super().__init__()
        self.attention = InvariantPointAttention(config, c_s, c_z)
        self.norm = LayerNorm(c_s)
        self.transition = nn.ModuleList(nn.Linear(c_s, c_s) for _ in range(3))
        self.transition_norm = LayerNorm(c_s)
        self.dropout = nn.Dropout(config.dropout)
        self.backbone = nn.Linear(c_s, 6)
        self.torsions = TorsionAngles(config, c_s)

    def forward(self, shared: SharedTerms, s: Single, before: Backbone) -> tuple[Single, Backbone]:
        # no gradient through earlier layers' rotations (line 20)
        frames = Rigid(before.frames.rotation.detach(), before.frames.translation)
        s = self.norm(self.dropout(s + self.attention(shared, s, frames)))
        first, second, third = self.transition
        s = self.transition_norm(self.dropout(s + third(second(first(s).relu()).relu())))
        turn, shift = self.backbone(s).split([3, 3], dim=-1)
        translation = frames.translation + (frames.rotation @ shift.unsqueeze(-1)).squeeze(-1)
        quaternion = update_quaternion(before.quaternion.detach(), turn)
        return s, Backbone.at(translation, quaternion)


class PairNorm(LayerNorm):
    """Layer norm of the pairs, which come in the trunk's precision."""

    def forward(self, x: Pair) -> Pair:
        return super().forward(widened(x))


class StructureModule(nn.Module):
    """Refine residue frames, all of which start at the origin, layer by layer (Suppl. Alg. 20).

    Where `start` is given and not zero, which is not as published, it replaces the frames of the first layer.
    """

    def __init__(self, config: StructureConfig, c_s: int, c_z: int) -> None:
        super().__init__()
        self.layers = config.layers
        self.scale = config.position_scale
        self.norm_s = LayerNorm(c_s)
        self.norm_z = PairNorm(c_z)
        self.initial = nn.Linear(c_s, c_s)
        self.layer = StructureLayer(config, c_s, c_z)

    def forward(
        self, s: Single, z: Pair, mask: Float[Tensor, "*b j"], start: StartFrames | None = None
    ) -> tuple[Single, list[StructureState]]:
        initial, layer = self.norm_s(s), self.over(z, mask)
        s = self.initial(initial)
        backbone = Backbone.at_origin(s)
        moved, found = list[Rigid](), list[Tensor]()
        for number in range(self.layers):
            if number == 1 and start is not None:
                backbone = self._replaced(backbone, start)
            s, backbone = layer(s, backbone)
            moved.append(backbone.frames.scaled(self.scale))
            found.append(s)
        raw = self.layer.torsions(torch.stack(found), initial)
        parts = zip(moved, F.normalize(raw, dim=-1, eps=1e-6).unbind(), raw.unbind(), strict=True)
        return s, [StructureState(frames, torsions, each) for frames, torsions, each in parts]

    def over(self, z: Pair, mask: Float[Tensor, "*b j"]) -> Callable[[Single, Backbone], tuple[Single, Backbone]]:
        """The layer, for these pairs."""
        return partial(self.layer, self.layer.attention.shared(self.norm_z(z), mask))

    def _replaced(self, backbone: Backbone, start: StartFrames) -> Backbone:
        """The frames in `start`; where it is zero, those that were found."""
        there = start.any(-1, keepdim=True)
        translation = torch.where(there, start[..., 4:] / self.scale, backbone.frames.translation)
        return Backbone.at(translation, torch.where(there, start[..., :4], backbone.quaternion))


def all_atoms(aatype: ResidueIndex, state: StructureState) -> Atoms37:
    """Heavy atoms from one layer's frames and torsions, in angstrom (Suppl. Alg. 24)."""
    groups = torsions_to_frames(aatype, state.frames, state.torsions)
    return frames_to_atoms(aatype, groups)
