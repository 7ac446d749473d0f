"""Updates of the MSA representation, and of the pairs from it."""

from torch import nn

from foldcli import ops
from foldcli.model.dap_hooks import OuterProduct
from foldcli.model.layers import GatedAttention, LayerNorm, dense
from foldcli.shapes import Msa, MsaMask, Pair


class MsaRowAttention(nn.Module):
    """Attend along each sequence, biased by the pairs (Suppl. Alg. 7)."""

    def __init__(self, c_m: int, c_z: int, heads: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_m)
        self.norm_z = LayerNorm(c_z)
        self.pair_weight = nn.Linear(c_z, heads, bias=False)
        self.attention = GatedAttention(c_m, heads)

    def forward(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        (projected,) = ops.norm_linear(z, self.norm_z.parts, [dense(self.pair_weight)])
        bias = projected.movedim(-1, -3)
        (packed,) = ops.norm_linear(m, self.norm.parts, [dense(self.attention.packed)])
        return self.attention(packed, mask, bias)


class MsaColumnAttention(nn.Module):
    """Attend along each column of the MSA (Suppl. Alg. 8)."""

    def __init__(self, c_m: int, heads: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_m)
        self.attention = GatedAttention(c_m, heads)

    def forward(self, m: Msa, mask: MsaMask) -> Msa:
        (packed,) = ops.norm_linear(m.transpose(-2, -3), self.norm.parts, [dense(self.attention.packed)])
        return self.attention(packed, mask.transpose(-1, -2)).transpose(-2, -3)


class MsaColumnGlobalAttention(nn.Module):
    """Attend along each column: the mean query of each head, keys and values shared by heads (Suppl. Alg. 19)."""

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


class OuterProductMean(nn.Module):
    """Update each pair by the mean outer product of its two MSA columns (Suppl. Alg. 10)."""

    def __init__(self, c_m: int, c_outer: int, c_z: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_m)
        self.left = nn.Linear(c_m, c_outer)
        self.right = nn.Linear(c_m, c_outer)
        self.outer = OuterProduct(c_outer, c_z)

    def forward(self, m: Msa, mask: MsaMask) -> Pair:
        left, right = ops.norm_linear(m, self.norm.parts, [dense(self.left), dense(self.right)], mask)
        return self.outer(left, right, mask, mask)
