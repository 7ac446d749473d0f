"""Dynamic Axial Parallelism (DAP): each module of the model at which sharded data must meet, and its DAP module.

FastFold (Cheng et al. 2022, arXiv:2203.00854). Every DAP module is a subclass, so that `shard` changes the class of a
module and leaves its parameters, their names and everything else as they are. Activations are sharded over one axis of
residues or sequences; each rank's gradients of parameters are partial sums (`gradients.whole_gradients`).

Comments "Duality Async" mark where a transfer starts and where it is awaited in the forward pass; the backward pass
starts the gradient's transfer at the wait and awaits it at the start (`collectives`); `ring` has its own for triangle
products.
"""

import math
from collections.abc import Iterable

import torch
from torch import nn

from foldcli import ops
from foldcli.model.dap_hooks import AllResidues, LocalResidues, LocalTemplates, OuterProduct, PairTranspose, QueryRow
from foldcli.model.embedders import RecyclingEmbedder
from foldcli.model.evoformer import EvoformerBlock, EvoformerStack, OuterFirstBlock, OuterFirstStack
from foldcli.model.features import Recycled, TemplateFeatures
from foldcli.model.layers import DropoutAdd, dense
from foldcli.model.msa import MsaRowAttention
from foldcli.model.triangle import IncomingProduct, TriangleAttention, TriangleMultiplication
from foldcli.parallel.channel_groups import group_count, grouped, joined, product_by_channels, splits_by_channels
from foldcli.parallel.collectives import Arrived, Pending
from foldcli.parallel.dropout import DapDropout, DapDropoutAdd
from foldcli.parallel.layouts import (
    all_gather_async,
    local_shard,
    residues_to_sequences_async,
    scatter_async,
    sequences_to_residues_async,
    transpose_pairs_async,
)
from foldcli.parallel.local_features import local_templates
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.ring import ring_blocks, start_incoming, start_outgoing
from foldcli.shapes import Float, Msa, MsaMask, Pair, PairMask, ResidueIndex, Tensor


class DapEvoformerBlock(EvoformerBlock):
    """Row attention runs on this rank's sequences, column attention on its residues, pair updates on its rows.

    m comes and goes sharded over sequences; the all-to-all that reshards it back overlaps all pair updates. z comes and
    goes transposed, as `attend_ending_node` leaves it; the all-to-all that transposes it overlaps all MSA updates.
    msa_mask: of all sequences.
    """

    group: RankGroup

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        pairs = transpose_pairs_async(z, self.group)  # Duality Async: starts; overlaps all MSA updates
        rows = local_shard(msa_mask, -2, self.group)
        if isinstance(pairs, Arrived):  # then z is not needed any more
            m = self.update_msa_rows_by(m, pairs.wait(), rows)
        else:
            m = self.update_msa_rows(m, z, rows)
        m = sequences_to_residues_async(m, self.group).wait()
        mask = local_shard(msa_mask, -1, self.group)
        m = self.update_msa_columns(m, mask)
        sequences = residues_to_sequences_async(m, self.group)  # Duality Async: starts; overlaps all pair updates
        update = self.outer_product_mean(m, mask)
        z = self.update_pairs(pairs.wait() + update, pair_mask)  # Duality Async: z is awaited
        return sequences.wait(), z  # Duality Async: m is awaited

    def update_msa_rows_by(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        """`update_msa_rows` by pairs that are not transposed."""
        assert isinstance(self.row, DapMsaRowAttention)
        return self.add_row(m, self.row.over_rows(m, z, mask))

    def attend_ending_node(self, z: Pair, mask: PairMask) -> Pair:
        """Return z transposed: there all rows share one dropout mask (`add_pair`), so no rank draws masks of others."""
        z = self.transpose(z)
        return self.add_pair(z, self.ending(z, mask))


class DapOuterFirstBlock(DapEvoformerBlock, OuterFirstBlock):
    """m comes and goes sharded over residues, as the outer product needs it, and z over rows.

    The all-to-all of m to sequences overlaps the outer product, that back to residues the pair updates; the all-to-all
    that transposes z back, after `attend_ending_node`, overlaps the column updates.
    """

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        sequences = residues_to_sequences_async(m, self.group)  # Duality Async: starts; overlaps the outer product
        mask = local_shard(msa_mask, -1, self.group)
        z = z + self.outer_product_mean(m, mask)
        rows = local_shard(msa_mask, -2, self.group)
        m = self.update_msa_rows_by(sequences.wait(), z, rows)  # Duality Async: m is awaited
        residues = sequences_to_residues_async(m, self.group)  # Duality Async: starts; overlaps all pair updates
        pairs = transpose_pairs_async(self.update_pairs(z, pair_mask), self.group)  # Duality Async: starts
        m = self.update_msa_columns(residues.wait(), mask)  # Duality Async: m is awaited; overlaps the transpose of z
        return m, pairs.wait()  # Duality Async: z is awaited


class DapEvoformerStack(EvoformerStack):
    """Give every block the mask of all sequences, and the pairs transposed."""

    group: RankGroup

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        all_sequences = all_gather_async(msa_mask, -2, self.group).wait()
        z = transpose_pairs_async(z, self.group).wait()
        for block in self.blocks:
            m, z = block(m, z, all_sequences, pair_mask)
        return m, transpose_pairs_async(z, self.group).wait()


class DapOuterFirstStack(OuterFirstStack):
    """Give every block the mask of all sequences, and m sharded over residues."""

    group: RankGroup

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        all_sequences = all_gather_async(msa_mask, -2, self.group).wait()
        m = sequences_to_residues_async(m, self.group).wait()
        for block in self.blocks:
            m, z = block(m, z, all_sequences, pair_mask)
        return residues_to_sequences_async(m, self.group).wait(), z


class DapMsaRowAttention(MsaRowAttention):
    """The pair bias is gathered while queries, keys and values are projected; z is transposed, and so is the bias."""

    group: RankGroup

    def forward(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        (projected,) = ops.norm_linear(z, self.norm_z.parts, [dense(self.pair_weight)])
        return self._attended(m, mask, all_gather_async(projected.transpose(-1, -3), -1, self.group))

    def over_rows(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        """The same where z is not transposed."""
        (projected,) = ops.norm_linear(z, self.norm_z.parts, [dense(self.pair_weight)])
        return self._attended(m, mask, all_gather_async(projected.movedim(-1, -3), -2, self.group))

    def _attended(self, m: Msa, mask: MsaMask, bias: Pending) -> Msa:
        """bias: its transfer has just started (Duality Async)."""
        (packed,) = ops.norm_linear(m, self.norm.parts, [dense(self.attention.packed)])
        return self.attention(packed, mask, bias.wait())  # Duality Async: is awaited


class DapTriangleAttention(TriangleAttention):
    """The pair bias is gathered while queries, keys and values are projected; for that, z is normalised twice."""

    group: RankGroup

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        (projected,) = ops.norm_linear(z, self.norm.parts, [dense(self.pair_weight)])
        bias = all_gather_async(projected.movedim(-1, -3), -2, self.group)  # Duality Async: starts
        (packed,) = ops.norm_linear(z, self.norm.parts, [dense(self.attention.packed)])
        return self.attention(packed, mask, bias.wait())  # Duality Async: is awaited


class DapTriangleMultiplication(TriangleMultiplication):
    """A product in groups of channels, by channels or around a ring; z is normalised for each group."""

    group: RankGroup

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        channels, ranks = self.output.in_features, self.group.size
        nbytes = math.prod(z.shape[:-1]) * channels * z.element_size()

        def project(part: ops.Dense) -> tuple[Tensor, Tensor]:
            return ops.triangle_operands(z, self.norm.parts, part, mask)

        if splits_by_channels(ranks, nbytes):
            groups = grouped(self.operands, group_count(channels, ranks, nbytes), ranks)
            parts = product_by_channels(project, groups, self.contract, self.group)
        else:
            parts = self._in_ring(map(project, grouped(self.operands, 2, 1)))
        product = joined(parts, channels)
        return ops.triangle_update(product, z, self.center.parts, dense(self.output), self.norm.parts, dense(self.gate))

    def _in_ring(self, halves: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """One half's first block travels while the other half is projected."""
        start = start_incoming if isinstance(self.contract, IncomingProduct) else start_outgoing
        # Duality Async: each half's first transfer starts here ...
        products = [start(*operands, self.group) for operands in halves]
        # ... and is awaited here, where the following ones start one block ahead.
        return [pending.wait() for pending in products]


class DapOuterProduct(OuterProduct):
    """The right projections, with their masks, travel around the ring; each gives a block of the pairs' columns."""

    group: RankGroup

    def forward(
        self,
        left: Float[Tensor, "*b s i c"],
        right: Float[Tensor, "*b s j c"],
        left_mask: Float[Tensor, "*b s i"],
        right_mask: Float[Tensor, "*b s j"],
    ) -> Pair:
        parts, values = {}, right.numel()
        # Duality Async: each transfer starts one block ahead of its use (`ring_blocks`)
        for owner, block in ring_blocks(torch.cat([right.flatten(), right_mask.flatten()]), self.group):
            columns, mask = block[:values].view_as(right), block[values:].view_as(right_mask)
            parts[owner] = super().forward(left, columns, left_mask, mask)
        return torch.cat([parts[owner] for owner in range(self.group.size)], dim=-2)


class DapPairTranspose(PairTranspose):
    """All-to-all: columns become rows of other ranks."""

    group: RankGroup

    def forward(self, z: Pair) -> Pair:
        return transpose_pairs_async(z, self.group).wait()


class DapLocalResidues(LocalResidues):
    """This rank's residues."""

    group: RankGroup

    def forward(self, x: Tensor, axis: int) -> Tensor:
        return local_shard(x, axis, self.group)


class DapAllResidues(AllResidues):
    """The residues of all ranks, gathered."""

    group: RankGroup

    def forward(self, x: Tensor, axis: int) -> Tensor:
        return all_gather_async(x, axis, self.group).wait()


class DapQueryRow(QueryRow):
    """Rank 0 has the query's row; every rank gets its residues of it."""

    group: RankGroup

    def forward(self, m: Msa) -> Float[Tensor, "*b i c_m"]:
        return scatter_async(super().forward(m), -2, self.group).wait()


class DapRecyclingEmbedder(RecyclingEmbedder):
    """Only rank 0 has the query's row, to which the recycled row is added; the others add zeros."""

    group: RankGroup

    def forward(self, aatype: ResidueIndex, previous: Recycled) -> tuple[Float[Tensor, "*b i c_m"], Pair]:
        row, pairs = super().forward(aatype, previous)
        return row * float(self.group.first), pairs


class DapLocalTemplates(LocalTemplates):
    """This rank's share of the templates, which become rows of its part of the MSA."""

    group: RankGroup

    def forward(self, templates: TemplateFeatures) -> TemplateFeatures:
        return local_templates(templates, self.group)


DAP_MODULES: dict[type[nn.Module], type[nn.Module]] = {
    # module: its DAP module      communication; layout of what it takes -> what it returns
    EvoformerStack: DapEvoformerStack,  # all-to-all; m over sequences, z over rows -> the same
    EvoformerBlock: DapEvoformerBlock,  # all-to-all; m over sequences, z transposed over rows -> the same
    OuterFirstStack: DapOuterFirstStack,  # all-to-all; m over sequences, z over rows -> the same
    OuterFirstBlock: DapOuterFirstBlock,  # all-to-all; m over residues, z over rows -> the same
    MsaRowAttention: DapMsaRowAttention,  # all-gather of the pair bias; z over rows or transposed -> m over sequences
    TriangleAttention: DapTriangleAttention,  # all-gather of the pair bias; z over rows -> the same
    TriangleMultiplication: DapTriangleMultiplication,  # ring or all-to-alls; z over rows -> the same
    OuterProduct: DapOuterProduct,  # ring; m over residues -> z over rows
    PairTranspose: DapPairTranspose,  # all-to-all; z over rows -> z transposed over rows
    LocalResidues: DapLocalResidues,  # none; all residues -> over residues
    AllResidues: DapAllResidues,  # all-gather; over residues -> all residues
    QueryRow: DapQueryRow,  # scatter; m over sequences -> its first row over residues
    RecyclingEmbedder: DapRecyclingEmbedder,  # none; all residues -> the row, zeros but on rank 0, and z over rows
    LocalTemplates: DapLocalTemplates,  # none; all templates -> over templates
    DropoutAdd: DapDropoutAdd,  # none
    nn.Dropout: DapDropout,  # none
}
