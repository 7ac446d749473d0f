"""Evoformer blocks as they fold whole on one GPU: what the model computes, in the fewest kernels, with no copies.

As with DAP, subclasses take the place of the model's modules, and parameters stay. What ends one update and begins the
next is one operation of `ops.residual`; these have no gradients. Around the ending node, what is read along columns is
projected from the transposed pairs, which is a view.
"""

import copy
from typing import TypeVar

from torch import nn

from foldcli import ops
from foldcli.model.evoformer import EvoformerBlock, EvoformerStack
from foldcli.model.layers import Transition, dense
from foldcli.model.msa import MsaColumnAttention
from foldcli.model.triangle import TriangleMultiplication
from foldcli.shapes import Float, Msa, MsaMask, Pair, PairMask, Tensor

M = TypeVar("M", bound=nn.Module)


class FusedPairBlock(EvoformerBlock):
    """Updates of the pairs; those of the MSA are the model's."""

    def updated(
        self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask, count: Float[Tensor, "*b i j"]
    ) -> tuple[Msa, Pair]:
        """What `forward` returns; count: how many sequences cover both i and j, the same in all blocks."""
        m = self.update_msa(m, z, msa_mask)
        outer = self.outer_product_mean
        left, right = ops.norm_linear(m, outer.norm.parts, [dense(outer.left), dense(outer.right)], msa_mask)
        z = ops.add_outer_product_mean(z, left, right, dense(outer.outer.project), count)
        return m, self.update_pairs(z, pair_mask)

    def update_msa(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        return self.update_msa_columns(self.update_msa_rows(m, z, mask), mask)

    def update_pairs(self, z: Pair, mask: PairMask) -> Pair:
        z = multiplied(multiplied(z, mask, self.outgoing), mask, self.incoming)
        first, last = self.starting, self.ending
        weights = [[dense(own.attention.packed), dense(own.pair_weight)] for own in (first, last)]
        packed, bias = ops.norm_linear(z, first.norm.parts, weights[0])
        update = first.attention.attend(packed, mask, bias.movedim(-1, -3))
        z, (packed, bias) = ops.add_norm_linear(
            z.transpose(-2, -3), update.transpose(-2, -3), dense(first.attention.output), last.norm.parts, weights[1]
        )
        update = last.attention.attend(packed, mask, bias.movedim(-1, -3))
        z, update = z.transpose(-2, -3), update.transpose(-2, -3)
        return ops.add_transition(z, update, dense(last.attention.output), *layers(self.pair_transition))


class FusedBlock(FusedPairBlock):
    """All updates, with the column attention of the main stack."""

    def update_msa(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        row, column = self.row, self.column
        assert isinstance(column, MsaColumnAttention)
        (bias,) = ops.norm_linear(z, row.norm_z.parts, [dense(row.pair_weight)])
        (packed,) = ops.norm_linear(m, row.norm.parts, [dense(row.attention.packed)])
        update = row.attention.attend(packed, mask, bias.movedim(-1, -3))
        m, (packed,) = ops.add_norm_linear(
            m, update, dense(row.attention.output), column.norm.parts, [dense(column.attention.packed)]
        )
        update = column.attention.attend(packed.transpose(-2, -3), mask.transpose(-1, -2)).transpose(-2, -3)
        return ops.add_transition(m, update, dense(column.attention.output), *layers(self.msa_transition))


class FusedStack(EvoformerStack):
    """Give all blocks what follows from the masks alone."""

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        count = msa_mask.transpose(-1, -2) @ msa_mask
        for block in self.blocks:
            assert isinstance(block, FusedPairBlock)
            m, z = block.updated(m, z, msa_mask, pair_mask, count)
        return m, z


def multiplied(z: Pair, mask: PairMask, own: TriangleMultiplication) -> Pair:
    """The pairs with the update of a triangle multiplication."""
    left, right = ops.triangle_operands(z, own.norm.parts, dense(own.operands), mask)
    product = own.contract(left, right)
    return ops.add_triangle_update(product, z, own.center.parts, dense(own.output), own.norm.parts, dense(own.gate))


def layers(own: Transition) -> tuple[ops.Norm, ops.Dense, ops.Dense]:
    return own.norm.parts, dense(own.expand), dense(own.contract)


def fused_copy(model: M) -> M:
    """The model with fused blocks in its Evoformer stacks; it shares its parameters with the plain one."""
    fused = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    for module in fused.modules():
        if type(module) is EvoformerStack:
            module.__class__ = FusedStack
        elif type(module) is EvoformerBlock:
            module.__class__ = FusedBlock if isinstance(module.column, MsaColumnAttention) else FusedPairBlock
    return fused
