"""Layers that several parts of the model share."""

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

    @property
    def parts(self) -> ops.Norm:
        return self.scale, self.offset

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        return ops.layer_norm(x, self.parts)


def widened(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Convert to at least float32, in which the structure module and the heads compute."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def dense(layer: nn.Linear) -> ops.Dense:
    """Weight and bias of a linear layer, for an operation of `ops` that fuses it with others."""
    return layer.weight, layer.bias


class Transition(nn.Module):
    """Update every position by a two-layer perceptron with a wider hidden layer (Suppl. Alg. 9, 15)."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.norm = LayerNorm(channels)
        self.expand = nn.Linear(channels, factor * channels)
        self.contract = nn.Linear(factor * channels, channels)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        return ops.transition(x, self.norm.parts, dense(self.expand), dense(self.contract))


class DropoutAdd(nn.Module):
    """Add an update after dropout, whose mask is shared along one axis (Suppl. Sec. 1.11.6).

    shared: that axis, counted from the end.
    """

    def __init__(self, rate: float, shared: int) -> None:
        super().__init__()
        self.rate = rate
        self.shared = shared

    def forward(self, x: Float[Tensor, "*b c"], update: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        if not self.training or self.rate == 0:
            return x + update
        seed = torch.randint(2**62, (), device=x.device)
        return ops.dropout_add(x, update, seed, self.rate, self.shared)


class GatedAttention(nn.Module):
    """Gated multi-head attention within each row g (Suppl. Alg. 7, lines 2 to 7).

    `packed` is one projection for queries, keys, values and gates; the caller fuses it with its layer norm.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.packed = nn.Linear(channels, 4 * channels, bias=False)
        self.gate_bias = nn.Parameter(torch.ones(channels))
        self.output = nn.Linear(channels, channels)

    def forward(
        self,
        packed: Float[Tensor, "*b g n c4"],
        mask: Float[Tensor, "*b g n"],
        bias: Float[Tensor, "*b h n n"] | None = None,
    ) -> Float[Tensor, "*b g n c"]:
        """packed: the normalised rows, projected by `self.packed`; bias: the pair bias."""
        attended = self.attend(packed, mask, bias)
        if attended.is_contiguous():
            return self.output(attended)
        # Columns of the MSA and transposed pairs: in the order of memory, or a copy of all would be made.
        return self.output(attended.transpose(-2, -3)).transpose(-2, -3)

    def attend(
        self,
        packed: Float[Tensor, "*b g n c4"],
        mask: Float[Tensor, "*b g n"],
        bias: Float[Tensor, "*b h n n"] | None = None,
        fill: ops.KeyFill | None = None,
    ) -> Float[Tensor, "*b g n c"]:
        """All heads' gated values, before the output projection; fill: that of the mask, if it is made already."""
        return ops.gated_attention(packed, self.gate_bias, self.heads, mask, bias, fill)
