"""Evoformer blocks as they fold whole on one GPU: what the model computes, in the fewest kernels, with no copies.

As with DAP, subclasses take the place of the model's modules, and parameters stay. What ends one update and begins the
next is one operation of `ops.residual`; these have no gradients. Around the ending node, what is read along columns is
projected from the transposed pairs, which is a view.
"""

import copy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from foldcli import ops
from foldcli.model.evoformer import EvoformerBlock, EvoformerStack, OuterFirstBlock, OuterFirstStack
from foldcli.model.layers import Transition, dense
from foldcli.model.msa import MsaColumnAttention
from foldcli.model.triangle import TriangleMultiplication
from foldcli.shapes import Float, Msa, MsaMask, Pair, PairMask, Tensor

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Masks:
    """The masks of a stack, and what follows from them alone: made once for all blocks."""

    msa: MsaMask
    pairs: PairMask
    count: Float[Tensor, "*b i j"]  # how many sequences cover both i and j
    fills: tuple[ops.KeyFill | None, ...]  # of rows and columns of the MSA, and of pairs

    @classmethod
    def of(cls, msa: MsaMask, pairs: PairMask, dtype: torch.dtype) -> "Masks":
        """dtype: of the pairs."""
        columns = msa.transpose(-1, -2)
        fills = ops.key_fill(msa, dtype), ops.key_fill(columns, torch.float32), ops.key_fill(pairs, dtype)
        return cls(msa, pairs, columns @ msa, fills)


class FusedPairBlock(EvoformerBlock):
    """Updates of the pairs; those of the MSA are the model's."""

    def updated(self, m: Msa, z: Pair, masks: Masks) -> tuple[Msa, Pair]:
        """What `forward` returns."""
        m = self.update_msa(m, z, masks)
        return m, self.add_pair_updates(self.add_outer_product(m, z, masks), masks.pairs, masks.fills[2])

    def add_outer_product(self, m: Msa, z: Pair, masks: Masks) -> Pair:
        outer = self.outer_product_mean
        left, right = ops.norm_linear(m, outer.norm.parts, [dense(outer.left), dense(outer.right)], masks.msa)
        return ops.add_outer_product_mean(z, left, right, dense(outer.outer.project), masks.count)

    def update_msa(self, m: Msa, z: Pair, masks: Masks) -> Msa:
        return self.update_msa_columns(self.update_msa_rows(m, z, masks.msa), masks.msa)

    def add_pair_updates(self, z: Pair, mask: PairMask, fill: ops.KeyFill | None) -> Pair:
        z = multiplied(multiplied(z, mask, self.outgoing), mask, self.incoming)
        first, last = self.starting, self.ending
        weights = [[dense(own.attention.packed), dense(own.pair_weight)] for own in (first, last)]
        packed, bias = ops.norm_linear(z, first.norm.parts, weights[0])
        update = first.attention.attend(packed, mask, bias.movedim(-1, -3), fill)
        z, (packed, bias) = ops.add_norm_linear(
            z.transpose(-2, -3), update.transpose(-2, -3), dense(first.attention.output), last.norm.parts, weights[1]
        )
        update = last.attention.attend(packed, mask, bias.movedim(-1, -3), fill)
        z, update = z.transpose(-2, -3), update.transpose(-2, -3)
        return ops.add_transition(z, update, dense(last.attention.output), *layers(self.pair_transition))


class FusedBlock(FusedPairBlock):
    """All updates, with the column attention of the main stack."""

    def update_msa(self, m: Msa, z: Pair, masks: Masks) -> Msa:
        row, column, (of_rows, of_columns, _) = self.row, self.column, masks.fills
        assert isinstance(column, MsaColumnAttention)
        (bias,) = ops.norm_linear(z, row.norm_z.parts, [dense(row.pair_weight)])
        (packed,) = ops.norm_linear(m, row.norm.parts, [dense(row.attention.packed)])
        update = row.attention.attend(packed, masks.msa, bias.movedim(-1, -3), of_rows)
        m, (packed,) = ops.add_norm_linear(
            m, update, dense(row.attention.output), column.norm.parts, [dense(column.attention.packed)]
        )
        columns = packed.transpose(-2, -3), masks.msa.transpose(-1, -2)
        update = column.attention.attend(*columns, fill=of_columns).transpose(-2, -3)
        return ops.add_transition(m, update, dense(column.attention.output), *layers(self.msa_transition))


class FusedOuterFirstPairBlock(FusedPairBlock):
    """Updates of the pairs, of which the outer product comes first."""

    def updated(self, m: Msa, z: Pair, masks: Masks) -> tuple[Msa, Pair]:
        z = self.add_outer_product(m, z, masks)
        return self.update_msa(m, z, masks), self.add_pair_updates(z, masks.pairs, masks.fills[2])


class FusedOuterFirstBlock(FusedOuterFirstPairBlock, FusedBlock):
    """All updates, the outer product first."""


class FusedStack(EvoformerStack):
    """Give all blocks what follows from the masks alone."""

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        masks = Masks.of(msa_mask, pair_mask, z.dtype)
        for block in self.blocks:
            assert isinstance(block, FusedPairBlock)
            m, z = block.updated(m, z, masks)
        return m, z


def multiplied(z: Pair, mask: PairMask, own: TriangleMultiplication) -> Pair:
    """The pairs with the update of a triangle multiplication."""
    left, right = ops.triangle_operands(z, own.norm.parts, dense(own.operands), mask)
    product = own.contract(left, right)
    return ops.add_triangle_update(product, z, own.center.parts, dense(own.output), own.norm.parts, dense(own.gate))


def layers(own: Transition) -> tuple[ops.Norm, ops.Dense, ops.Dense]:
    return own.norm.parts, dense(own.expand), dense(own.contract)


# The blocks of the main stack, and those of the extra MSA.
FUSED: dict[type[nn.Module], tuple[type[nn.Module], type[nn.Module]]] = {
    EvoformerBlock: (FusedBlock, FusedPairBlock),
    OuterFirstBlock: (FusedOuterFirstBlock, FusedOuterFirstPairBlock),
}


def fused_copy(model: M) -> M:
    """The model with fused blocks in its Evoformer stacks; it shares its parameters with the plain one."""
    fused = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    for module in fused.modules():
        if type(module) in (EvoformerStack, OuterFirstStack):
            module.__class__ = FusedStack
        elif type(module) in FUSED:
            whole, pairs = FUSED[type(module)]
            module.__class__ = whole if isinstance(module.column, MsaColumnAttention) else pairs
    return fused
