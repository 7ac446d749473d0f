"""The small layers that every part is made of."""

import torch
from torch import nn

from foldcli import ops
from foldcli.shapes import Float, Tensor


class LayerNorm(nn.Module):
    """Layer norm over the last axis with scale and offset."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        return ops.layer_norm(x, self.scale, self.offset)


class Transition(nn.Module):
    """Update every position alone through a wider hidden layer (Suppl. Alg. 9, 15)."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.norm = LayerNorm(channels)
        self.expand = nn.Linear(channels, factor * channels)
        self.contract = nn.Linear(factor * channels, channels)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        expand, contract = (self.expand.weight, self.expand.bias), (self.contract.weight, self.contract.bias)
        return ops.transition(self.norm(x), expand, contract)


class PairBias(nn.Module):
    """One attention bias a head from each pair (Suppl. Alg. 7 line 3, Alg. 13 line 3)."""

    def __init__(self, c_z: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(c_z, heads, bias=False)

    def forward(self, z: Float[Tensor, "*b i j c_z"]) -> Float[Tensor, "*b h i j"]:
        return self.project(z).movedim(-1, -3)


class GatedAttention(nn.Module):
    """Multi-head attention within rows, gated; queries, keys, values and gates come from one projection."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.packed = nn.Linear(channels, 4 * channels, bias=False)
        self.gate_bias = nn.Parameter(torch.ones(channels))
        self.output = nn.Linear(channels, channels)

    def forward(
        self,
        x: Float[Tensor, "*b g n c"],
        mask: Float[Tensor, "*b g n"],
        bias: Float[Tensor, "*b h n n"] | None = None,
    ) -> Float[Tensor, "*b g n c"]:
        attended = ops.gated_attention(self.packed(x), self.gate_bias, self.heads, mask, bias)
        return self.output(attended)
