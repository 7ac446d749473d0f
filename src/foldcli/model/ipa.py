"""Invariant point attention (Suppl. Alg. 22)."""

import math
from dataclasses import dataclass

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


@dataclass(frozen=True)
class SharedTerms:
    """What attention computes of the pairs and of its weights alone: once for all layers, which share both.

    bias: of the pairs and the mask; point_weight: of squared distances; weight and offset: of one projection to
    queries, keys and values, then to their points.
    """

    z: Pair
    bias: Float[Tensor, "*b h i j"]
    point_weight: Float[Tensor, "h 1 1"]
    weight: Float[Tensor, "n c_s"]
    offset: Float[Tensor, " n"]


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

    def shared(self, z: Pair, mask: Float[Tensor, "*b j"]) -> SharedTerms:
        """What all layers share. Scalars, points and pairs are scaled to equal variance (Suppl. Sec. 1.8.2)."""
        absent = (1 - pair_mask(mask, self.local_residues)) * MASK_BIAS
        point_scale = (1 / (3 * self.config.point_qk * 9 / 2)) ** 0.5
        return SharedTerms(
            z=z,
            bias=torch.add(absent.unsqueeze(-3), self.bias(z).movedim(-1, -3), alpha=(1 / 3) ** 0.5),
            point_weight=((0.5 * point_scale) * F.softplus(self.point_weight))[:, None, None],
            weight=self._packed([layer.weight for layer in self._projections]),
            offset=self._packed([_bias(layer) for layer in self._projections]),
        )

    @property
    def _projections(self) -> list[nn.Linear]:
        return [self.query, self.key_value, self.query_points, self.key_value_points]

    @staticmethod
    def _packed(parts: list[Tensor]) -> Tensor:
        """Parameters of all projections; of points first all x, then all y, then all z."""
        *scalars, query_points, key_value_points = parts
        points = zip(query_points.chunk(3), key_value_points.chunk(3), strict=True)
        return torch.cat([*scalars, *(part for axis in points for part in axis)])

    def forward(self, shared: SharedTerms, s: Single, frames: Rigid) -> Single:
        heads, (scalar_qk, scalar_v) = self.config.heads, (self.config.scalar_qk, self.config.scalar_v)
        point_qk, point_v = self.config.point_qk, self.config.point_v
        sizes = [heads * scalar_qk, heads * (scalar_qk + scalar_v), 3 * heads * (2 * point_qk + point_v)]
        q, key_value, points = F.linear(s, shared.weight, shared.offset).split(sizes, -1)
        q, key_value = (x.unflatten(-1, (heads, -1)) for x in (q, self.all_residues(key_value, -2)))
        k, v = key_value.split([scalar_qk, scalar_v], -1)
        placed = frames.apply(points.unflatten(-1, (3, -1)).transpose(-1, -2))
        q_points, placed = placed.split([heads * point_qk, heads * (point_qk + point_v)], -2)
        placed = self.all_residues(placed.unflatten(-2, (heads, -1)), -4)
        k_points, v_points = placed.split([point_qk, point_v], -2)
        weight = self._weights(shared, q, k, q_points.unflatten(-2, (heads, -1)), k_points)
        values = torch.cat([v, v_points.flatten(-2)], dim=-1)
        scalars, points = torch.einsum("...hij,...jhd->...ihd", weight, values).split([scalar_v, 3 * point_v], -1)
        points = frames.invert_apply(points.unflatten(-1, (-1, 3)).flatten(-3, -2))
        norms = (points.square().sum(-1) + DISTANCE_EPS).sqrt()
        pairs = torch.einsum("...hij,...ijc->...ihc", weight, shared.z).flatten(-2)
        return self.output(torch.cat([scalars.flatten(-2), *points.unbind(-1), norms, pairs], dim=-1))

    def _weights(
        self,
        shared: SharedTerms,
        q: Float[Tensor, "*b i h d"],
        k: Float[Tensor, "*b j h d"],
        q_points: Float[Tensor, "*b i h p 3"],
        k_points: Float[Tensor, "*b j h p 3"],
    ) -> Float[Tensor, "*b h i j"]:
        """Attention weights."""
        scalar_scale = (1 / (3 * self.config.scalar_qk)) ** 0.5
        logits = torch.einsum("...ihd,...jhd->...hij", q * scalar_scale, k) + shared.bias
        # From differences: |q|^2 + |k|^2 - 2qk would lose short distances far from the origin in float32.
        a, b = (p.flatten(-2).transpose(-2, -3) for p in (q_points, k_points))
        return torch.addcmul(logits, shared.point_weight, squared_distances(a, b), value=-1).softmax(-1)


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
