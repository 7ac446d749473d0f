"""The table of units: each part of the model at which data must meet, and its twin that meets over the axial ranks.

A twin is a subclass, so that a model is split by changing the class of its parts: parameters, names and everything
else stay as they are. Every tensor with residues is split over them; gradients of parameters are a rank's share.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from foldcli import ops
from foldcli.model.embedders import RecyclingEmbedder
from foldcli.model.evoformer import EvoformerBlock, EvoformerStack
from foldcli.model.features import Recycled, TemplateFeatures
from foldcli.model.layers import (
    DropoutAdd,
    GatedAttention,
    PairBias,
    PairTranspose,
    QueryRow,
    Rows,
    Whole,
    dense,
)
from foldcli.model.msa import MsaRowAttention, OuterProduct
from foldcli.model.template import TemplateTorsionEmbedder
from foldcli.model.triangle import Incoming, Outgoing, TriangleAttention, TriangleMultiplication
from foldcli.ops.dropout import kept
from foldcli.parallel.collectives import Pending
from foldcli.parallel.entry import own_templates
from foldcli.parallel.layouts import deal, gather, own, to_columns, to_rows, transpose
from foldcli.parallel.mesh import Axis
from foldcli.parallel.ring import RightAround, Sums, SumsAround, around
from foldcli.shapes import Float, Msa, MsaMask, Pair, PairMask, ResidueIndex, Tensor


class SplitBlock(EvoformerBlock):
    """Row attention on sequences, column attention on residues; on its way back the MSA passes the whole pair track.

    m is split over sequences; msa_mask is that of all sequences. z comes and goes transposed, as the attention to ends
    leaves it, and passes the whole MSA track on its way back.
    """

    ranks: Axis

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        rows = transpose(z, self.ranks)
        m = to_columns(self.read_pairs(m, z, own(msa_mask, -2, self.ranks)), self.ranks).wait()
        columns = own(msa_mask, -1, self.ranks)
        m = self.read_columns(m, columns)
        returning = to_rows(m, self.ranks)
        update = self.outer_product_mean(m, columns)
        z = self.close_triangles(rows.wait() + update, pair_mask)
        return returning.wait(), z

    def attend_to_ends(self, z: Pair, mask: PairMask) -> Pair:
        """On the transpose throughout: there all rows share the dropout's mask, and no rank draws that of others."""
        z = self.transpose(z)
        return self.add_pair(z, self.ending(z, mask))


class SplitStack(EvoformerStack):
    """Every block gets the mask of all sequences, and the pairs transposed."""

    ranks: Axis

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        whole, z = gather(msa_mask, -2, self.ranks).wait(), transpose(z, self.ranks).wait()
        for block in self.blocks:
            m, z = block(m, z, whole, pair_mask)
        return m, transpose(z, self.ranks).wait()


class SplitRowAttention(MsaRowAttention):
    """The pairs are transposed, and so is the bias that all ranks bring together; it travels during the projection."""

    ranks: Axis

    def forward(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        (projected,) = ops.norm_linear(z, self.norm_z.parts, [dense(self.pair_weight)])
        bias = gather(projected.transpose(-1, -3), -1, self.ranks)
        (packed,) = ops.norm_linear(m, self.norm.parts, [dense(self.attention.packed)])
        return self.attention(packed, mask, bias)


class SplitTriangleMultiplication(TriangleMultiplication):
    """In two halves of the channels: while what one sends is under way, the other is projected.

    The price is a second look at the pairs.
    """

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        stacked = (x.unflatten(0, (4, -1)).chunk(2, dim=1) for x in self.operands.parameters())
        halves = [(weight.flatten(0, 1), bias.flatten()) for weight, bias in zip(*stacked, strict=True)]
        finish = [self.contract(*ops.triangle_operands(z, self.norm.parts, half, mask)) for half in halves]
        product = torch.cat([end() for end in finish], dim=-3)
        return ops.triangle_update(product, z, self.center.parts, dense(self.output), self.norm.parts, dense(self.gate))


class SplitTriangleAttention(TriangleAttention):
    """The bias travels while queries, keys and values are projected, at the price of a second look at the pairs."""

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        (projected,) = ops.norm_linear(z, self.norm.parts, [dense(self.pair_weight)])
        bias = self.bias(projected)
        (packed,) = ops.norm_linear(z, self.norm.parts, [dense(self.attention.packed)])
        return self.attention(packed, mask, bias)


class GatheredBias(PairBias):
    """Start to gather the projected heads of all rows."""

    ranks: Axis

    def forward(self, projected: Float[Tensor, "*b i j h"]) -> Pending:  # type: ignore[override]
        return gather(super().forward(projected), -2, self.ranks)


class AwaitingAttention(GatedAttention):
    """Wait for the bias where it is used."""

    def forward(self, packed: Tensor, mask: Tensor, bias: Pending | None = None) -> Tensor:  # type: ignore[override]
        return super().forward(packed, mask, None if bias is None else bias.wait())


class RingOutgoing(Outgoing):
    """The right operands of other rows come around the ring; returns what waits for them and gives the product."""

    ranks: Axis

    def forward(self, left: Tensor, right: Tensor) -> Callable[[], Tensor]:  # type: ignore[override]
        return partial(RightAround.apply, left, right, around(right.detach(), self.ranks), self.ranks)


class RingIncoming(Incoming):
    """What these rows add to the products of other rows goes around the ring; returns what waits and gives the sum."""

    ranks: Axis

    def forward(self, left: Tensor, right: Tensor) -> Callable[[], Tensor]:  # type: ignore[override]
        sums = Sums(self.ranks).add_product(right.detach(), left.detach())
        return partial(SumsAround.apply, right, left, sums, self.ranks)


class RingOuterProduct(OuterProduct):
    """The right projections of other residues come around the ring, their masks with them."""

    ranks: Axis

    def forward(
        self,
        left: Float[Tensor, "*b s i c"],
        right: Float[Tensor, "*b s j c"],
        left_mask: Float[Tensor, "*b s i"],
        right_mask: Float[Tensor, "*b s j"],
    ) -> Pair:
        parts, values = {}, right.numel()
        for owner, block in around(torch.cat([right.flatten(), right_mask.flatten()]), self.ranks):
            columns, mask = block[:values].view_as(right), block[values:].view_as(right_mask)
            parts[owner] = super().forward(left, columns, left_mask, mask)
        return torch.cat([parts[owner] for owner in range(self.ranks.size)], dim=-2)


class SplitTranspose(PairTranspose):
    """Rows become columns on other ranks."""

    ranks: Axis

    def forward(self, z: Pair) -> Pair:
        return transpose(z, self.ranks).wait()


class OwnRows(Rows):
    """This rank's residues."""

    ranks: Axis

    def forward(self, x: Tensor, axis: int) -> Tensor:
        return own(x, axis, self.ranks)


class GatheredResidues(Whole):
    """The residues of all ranks."""

    ranks: Axis

    def forward(self, x: Tensor, axis: int) -> Tensor:
        return gather(x, axis, self.ranks).wait()


class DealtQueryRow(QueryRow):
    """Rank 0 has the query; every rank gets its residues."""

    ranks: Axis

    def forward(self, m: Msa) -> Float[Tensor, "*b i c_m"]:
        return deal(super().forward(m), -2, self.ranks).wait()


class FirstRankRecycling(RecyclingEmbedder):
    """Only rank 0 has the query's row, to which that of the pass before is added."""

    ranks: Axis

    def forward(self, aatype: ResidueIndex, previous: Recycled) -> tuple[Float[Tensor, "*b i c_m"], Pair]:
        row, pairs = super().forward(aatype, previous)
        return row * float(self.ranks.rank == 0), pairs


class OwnTemplateRows(TemplateTorsionEmbedder):
    """This rank's templates as rows of the MSA."""

    ranks: Axis

    def forward(self, templates: TemplateFeatures) -> tuple[Msa, MsaMask]:
        return super().forward(own_templates(templates, self.ranks))


class SplitDropoutAdd(DropoutAdd):
    """The very numbers that one device draws: alike on all ranks where rows share them, else this rank's part."""

    ranks: Axis

    def forward(self, x: Float[Tensor, "*b c"], update: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        if self.shared == -3 or not self.training or self.rate == 0:
            return super().forward(x, update)
        shape = [*update.shape]
        shape[self.shared], shape[-3] = 1, shape[-3] * self.ranks.size
        seed = torch.randint(2**62, (), device=x.device)
        keep = own(kept(seed, math.prod(shape), self.rate).view(shape), -3, self.ranks)
        return x + torch.where(keep, update / (1 - self.rate), 0.0)


class SplitDropout(nn.Dropout):
    """This rank's residues of what one device draws for all."""

    ranks: Axis

    def forward(self, x: Float[Tensor, "*b i c"]) -> Float[Tensor, "*b i c"]:
        if not self.training:
            return x
        whole = x.new_ones(*x.shape[:-2], x.shape[-2] * self.ranks.size, x.shape[-1])
        return x * own(super().forward(whole), -2, self.ranks)


TWINS: dict[type[nn.Module], type[nn.Module]] = {
    # unit: its twin         what the twin takes and gives
    EvoformerStack: SplitStack,  # m over sequences, z over rows
    EvoformerBlock: SplitBlock,  # m over sequences, over residues, over sequences; z's transpose over rows, z, again
    MsaRowAttention: SplitRowAttention,  # z's transpose over rows -> its heads whole
    TriangleMultiplication: SplitTriangleMultiplication,
    TriangleAttention: SplitTriangleAttention,
    PairBias: GatheredBias,  # z's heads over rows -> whole
    GatedAttention: AwaitingAttention,
    Outgoing: RingOutgoing,  # right operand over rows, never whole
    Incoming: RingIncoming,  # product over rows, never whole
    OuterProduct: RingOuterProduct,  # right operand over residues, never whole
    PairTranspose: SplitTranspose,  # z over rows -> its transpose over rows
    Rows: OwnRows,  # whole -> over residues
    Whole: GatheredResidues,  # over residues -> whole
    QueryRow: DealtQueryRow,  # rank 0's -> over residues
    RecyclingEmbedder: FirstRankRecycling,
    TemplateTorsionEmbedder: OwnTemplateRows,  # templates -> over templates
    DropoutAdd: SplitDropoutAdd,
    nn.Dropout: SplitDropout,
}
