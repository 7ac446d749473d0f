"""Invariant point attention (Suppl. Alg. 22)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from foldcli.config import StructureConfig
from foldcli.geometry.lddt import squared_distances
from foldcli.geometry.rigid import Rigid
from foldcli.model.dap_hooks import AllResidues, LocalResidues, pair_mask
from foldcli.shapes import Float, Pair, Single, Tensor

DISTANCE_EPS = 1e-8
MASK_BIAS = -1e5


class InvariantPointAttention(nn.Module):
    """Attention by scalar products, a pair bias, and distances between points placed by each residue's frame."""

    def __init__(self, config: StructureConfig, c_s: int, c_z: int) -> None:
        super().__init__()
        self.config = config
        self.local_residues = LocalResidues()
        self.all_residues = AllResidues()
        h, points = config.heads, config.point_qk + config.point_v
        self.query = nn.Linear(c_s, h * config.scalar_qk, bias=config.scalar_bias)
        self.key_value = nn.Linear(c_s, h * (config.scalar_qk + config.scalar_v), bias=config.scalar_bias)
        self.query_points = nn.Linear(c_s, 3 * h * config.point_qk)
        self.key_value_points = nn.Linear(c_s, 3 * h * points)
        self.bias = nn.Linear(c_z, h)
        self.point_weight = nn.Parameter(torch.full((h,), math.log(math.e - 1)))
        self.output = nn.Linear(h * (config.scalar_v + 4 * config.point_v + c_z), c_s)

    def forward(self, s: Single, z: Pair, mask: Float[Tensor, "*b j"], frames: Rigid) -> Single:
        q = self.query(s).unflatten(-1, (self.config.heads, -1))
        key_value = self.all_residues(self.key_value(s), -2)
        k, v = self._split(key_value.unflatten(-1, (self.config.heads, -1)), self.config.scalar_qk)
        q_points = self._place(self.query_points(s), frames)
        placed = self.all_residues(self._place(self.key_value_points(s), frames), -4)
        k_points, v_points = self._split(placed.transpose(-1, -2), self.config.point_qk)
        weight = self._weights(q, k, self.bias(z), q_points, k_points.transpose(-1, -2), mask)
        scalars = torch.einsum("...hij,...jhd->...ihd", weight, v).flatten(-2)
        points = torch.einsum("...hij,...jhxp->...ihpx", weight, v_points).flatten(-3, -2)
        points = frames.invert_apply(points)
        norms = (points.square().sum(-1) + DISTANCE_EPS).sqrt()
        pairs = torch.einsum("...hij,...ijc->...ihc", weight, z).flatten(-2)
        return self.output(torch.cat([scalars, *points.unbind(-1), norms, pairs], dim=-1))

    @staticmethod
    def _split(x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        return x[..., :first], x[..., first:]

    def _place(self, flat: Float[Tensor, "*b i n"], frames: Rigid) -> Float[Tensor, "*b i h p 3"]:
        """Local points, given as all x, then all y, then all z, in global coordinates."""
        local = flat.unflatten(-1, (3, -1)).transpose(-1, -2)
        return frames.apply(local).unflatten(-2, (self.config.heads, -1))

    def _weights(
        self,
        q: Float[Tensor, "*b i h d"],
        k: Float[Tensor, "*b j h d"],
        bias: Float[Tensor, "*b i j h"],
        q_points: Float[Tensor, "*b i h p 3"],
        k_points: Float[Tensor, "*b j h p 3"],
        mask: Float[Tensor, "*b j"],
    ) -> Float[Tensor, "*b h i j"]:
        """Attention weights; scalars, points and pairs are scaled to equal variance (Suppl. Sec. 1.8.2)."""
        scalar_scale = (1 / (3 * self.config.scalar_qk)) ** 0.5
        point_scale = (1 / (3 * self.config.point_qk * 9 / 2)) ** 0.5
        logits = torch.einsum("...ihd,...jhd->...hij", q * scalar_scale, k) + bias.movedim(-1, -3) * (1 / 3) ** 0.5
        # From differences: |q|^2 + |k|^2 - 2qk would lose short distances far from the origin in float32.
        a, b = (p.flatten(-2).transpose(-2, -3) for p in (q_points, k_points))
        point_weight = (0.5 * point_scale) * F.softplus(self.point_weight)
        logits = torch.addcmul(logits, point_weight[:, None, None], squared_distances(a, b), value=-1)
        logits = logits + (1 - pair_mask(mask, self.local_residues)).unsqueeze(-3) * MASK_BIAS
        return logits.softmax(-1)
