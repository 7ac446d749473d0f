"""Updates of the MSA representation, and what it writes into the pairs."""

import torch
from torch import nn

from foldcli import ops
from foldcli.model.layers import GatedAttention, LayerNorm, PairBias
from foldcli.shapes import Float, Msa, MsaMask, Pair, Tensor


class MsaRowAttention(nn.Module):
    """Attend along each sequence, biased by the pairs (Suppl. Alg. 7)."""

    def __init__(self, c_m: int, c_z: int, heads: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_m)
        self.norm_z = LayerNorm(c_z)
        self.bias = PairBias(c_z, heads)
        self.attention = GatedAttention(c_m, heads)

    def forward(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        return self.attention(self.norm(m), mask, self.bias(self.norm_z(z)))


class MsaColumnAttention(nn.Module):
    """Attend along each column of the alignment (Suppl. Alg. 8)."""

    def __init__(self, c_m: int, heads: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_m)
        self.attention = GatedAttention(c_m, heads)

    def forward(self, m: Msa, mask: MsaMask) -> Msa:
        columns = self.norm(m.transpose(-2, -3))
        return self.attention(columns, mask.transpose(-1, -2)).transpose(-2, -3)


class MsaColumnGlobalAttention(nn.Module):
    """Attend along each column with one mean query a head and shared keys and values (Suppl. Alg. 19)."""

    def __init__(self, c_m: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(c_m)
        self.query = nn.Linear(c_m, c_m, bias=False)
        self.key_value = nn.Linear(c_m, 2 * (c_m // heads), bias=False)
        self.gate = nn.Linear(c_m, c_m)
        self.output = nn.Linear(c_m, c_m)

    def forward(self, m: Msa, mask: MsaMask) -> Msa:
        columns, keep = self.norm(m.transpose(-2, -3)), mask.transpose(-1, -2)
        weight = keep / (keep.sum(-1, keepdim=True) + 1e-10)
        q = self.query((columns * weight.unsqueeze(-1)).sum(-2)).unflatten(-1, (self.heads, -1))
        k, v = self.key_value(columns).chunk(2, dim=-1)
        attended = ops.global_attention(q, k, v, keep).flatten(-2)
        gated = self.gate(columns).sigmoid() * attended.unsqueeze(-2)
        return self.output(gated).transpose(-2, -3)


class OuterProduct(nn.Module):
    """Sum over sequences of left times right, projected to the pairs; where both operands must meet."""

    def __init__(self, c_outer: int, c_z: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(c_outer, c_outer, c_z))
        self.bias = nn.Parameter(torch.zeros(c_z))

    def forward(
        self, left: Float[Tensor, "*b s i c"], right: Float[Tensor, "*b s j c"], count: Float[Tensor, "*b i j"]
    ) -> Pair:
        """count: how many sequences cover both i and j."""
        return (ops.outer_product(left, right, self.weight) + self.bias) / (count.unsqueeze(-1) + 1e-3)


class OuterProductMean(nn.Module):
    """Update the pairs by the mean outer product of their columns (Suppl. Alg. 10)."""

    def __init__(self, c_m: int, c_outer: int, c_z: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_m)
        self.left = nn.Linear(c_m, c_outer)
        self.right = nn.Linear(c_m, c_outer)
        self.outer = OuterProduct(c_outer, c_z)

    def forward(self, m: Msa, mask: MsaMask) -> Pair:
        m, keep = self.norm(m), mask.unsqueeze(-1)
        count = mask.transpose(-1, -2) @ mask
        return self.outer(self.left(m) * keep, self.right(m) * keep, count)
