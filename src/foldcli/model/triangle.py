"""Triangle updates of the pair representation; attention around the ending node runs on the transpose."""

from torch import nn

from foldcli import ops
from foldcli.model.layers import GatedAttention, LayerNorm, dense
from foldcli.shapes import Float, Pair, PairMask, Tensor


class OutgoingProduct(nn.Module):
    """Sum over k of left[i, k] right[j, k], the edges that start at i and j (Suppl. Alg. 11, line 4)."""

    def forward(self, left: Float[Tensor, "*b c i k"], right: Float[Tensor, "*b c j k"]) -> Float[Tensor, "*b c i j"]:
        return ops.triangle_product(left, right)


class IncomingProduct(nn.Module):
    """Sum over k of left[k, j] right[k, i], the edges that end at j and i (Suppl. Alg. 12, line 4)."""

    def forward(self, left: Float[Tensor, "*b c k j"], right: Float[Tensor, "*b c k i"]) -> Float[Tensor, "*b c i j"]:
        return ops.triangle_product(right.transpose(-1, -2), left.transpose(-1, -2))


class TriangleMultiplication(nn.Module):
    """Update each edge from the two others of its triangles (Suppl. Alg. 11 and 12, which differ in `contract`)."""

    def __init__(self, c_z: int, c_hidden: int, contract: OutgoingProduct | IncomingProduct) -> None:
        super().__init__()
        self.norm = LayerNorm(c_z)
        self.operands = nn.Linear(c_z, 4 * c_hidden)
        self.contract = contract
        self.center = LayerNorm(c_hidden)
        self.output = nn.Linear(c_hidden, c_z)
        self.gate = nn.Linear(c_z, c_z)

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        left, right = ops.triangle_operands(z, self.norm.parts, dense(self.operands), mask)
        product = self.contract(left, right)
        return ops.triangle_update(product, z, self.center.parts, dense(self.output), self.norm.parts, dense(self.gate))


class TriangleAttention(nn.Module):
    """Attend along the edges that start at each node, biased by the third edge of the triangle (Suppl. Alg. 13).

    On the transpose this is the attention around the ending node (Alg. 14).
    """

    def __init__(self, c_z: int, heads: int) -> None:
        super().__init__()
        self.norm = LayerNorm(c_z)
        self.pair_weight = nn.Linear(c_z, heads, bias=False)
        self.attention = GatedAttention(c_z, heads)

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        packed, projected = ops.norm_linear(z, self.norm.parts, [dense(self.attention.packed), dense(self.pair_weight)])
        return self.attention(packed, mask, projected.movedim(-1, -3))
