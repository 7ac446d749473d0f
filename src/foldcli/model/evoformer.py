"""Blocks and stacks of the Evoformer (Suppl. Alg. 6) and of the extra-MSA stack (Alg. 18)."""

from torch import nn

from foldcli.config import StackConfig
from foldcli.model.dap_hooks import PairTranspose
from foldcli.model.layers import DropoutAdd, Transition
from foldcli.model.msa import MsaColumnAttention, MsaColumnGlobalAttention, MsaRowAttention, OuterProductMean
from foldcli.model.triangle import IncomingProduct, OutgoingProduct, TriangleAttention, TriangleMultiplication
from foldcli.shapes import Msa, MsaMask, Pair, PairMask


class EvoformerBlock(nn.Module):
    """One block: update the MSA, biased by pairs; then pairs, from the MSA and by triangles (Suppl. Alg. 6)."""

    def __init__(self, config: StackConfig, c_z: int, column: nn.Module) -> None:
        super().__init__()
        self.row = MsaRowAttention(config.c_m, c_z, config.msa_heads)
        self.column = column
        self.msa_transition = Transition(config.c_m, config.transition_factor)
        self.outer_product_mean = OuterProductMean(config.c_m, config.c_outer, c_z)
        self.outgoing = TriangleMultiplication(c_z, config.c_triangle, OutgoingProduct())
        self.incoming = TriangleMultiplication(c_z, config.c_triangle, IncomingProduct())
        self.starting = TriangleAttention(c_z, config.pair_heads)
        self.ending = TriangleAttention(c_z, config.pair_heads)
        self.pair_transition = Transition(c_z, config.transition_factor)
        self.transpose = PairTranspose()
        self.add_row = DropoutAdd(config.msa_dropout, shared=-3)
        self.add_pair = DropoutAdd(config.pair_dropout, shared=-3)
        self.add_ending = DropoutAdd(config.pair_dropout, shared=-2)

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        m = self.update_msa_rows(m, z, msa_mask)
        m = self.update_msa_columns(m, msa_mask)
        z = z + self.outer_product_mean(m, msa_mask)
        return m, self.update_pairs(z, pair_mask)

    def update_msa_rows(self, m: Msa, z: Pair, mask: MsaMask) -> Msa:
        """Attend along each sequence, biased by the pairs (line 2)."""
        return self.add_row(m, self.row(m, z, mask))

    def update_msa_columns(self, m: Msa, mask: MsaMask) -> Msa:
        """Attend along each column, then the transition (lines 3 and 4)."""
        m = m + self.column(m, mask)
        return m + self.msa_transition(m)

    def update_pairs(self, z: Pair, mask: PairMask) -> Pair:
        """Triangle updates and transition (lines 6 to 10); the mask must be symmetric, since it is not transposed."""
        z = self.add_pair(z, self.outgoing(z, mask))
        z = self.add_pair(z, self.incoming(z, mask))
        z = self.add_pair(z, self.starting(z, mask))
        z = self.attend_ending_node(z, mask)
        return z + self.pair_transition(z)

    def attend_ending_node(self, z: Pair, mask: PairMask) -> Pair:
        """Triangle attention around the ending node: that around the starting node, on the transpose (line 9)."""
        return self.add_ending(z, self.transpose(self.ending(self.transpose(z), mask)))


class OuterFirstBlock(EvoformerBlock):
    """A block of AlphaFold-Multimer: the outer product comes first, and the rows see its pairs (Evans et al. 2021)."""

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        z = z + self.outer_product_mean(m, msa_mask)
        m = self.update_msa_rows(m, z, msa_mask)
        m = self.update_msa_columns(m, msa_mask)
        return m, self.update_pairs(z, pair_mask)


class EvoformerStack(nn.Module):
    """A sequence of blocks; global_columns: with global column attention, for the extra MSA (Suppl. Alg. 18)."""

    block: type[EvoformerBlock] = EvoformerBlock

    def __init__(self, config: StackConfig, c_z: int, global_columns: bool = False) -> None:
        super().__init__()
        column = MsaColumnGlobalAttention if global_columns else MsaColumnAttention
        self.blocks = nn.ModuleList(
            self.block(config, c_z, column(config.c_m, config.msa_heads)) for _ in range(config.blocks)
        )

    def forward(self, m: Msa, z: Pair, msa_mask: MsaMask, pair_mask: PairMask) -> tuple[Msa, Pair]:
        for block in self.blocks:
            m, z = block(m, z, msa_mask, pair_mask)
        return m, z


class OuterFirstStack(EvoformerStack):
    """A stack of AlphaFold-Multimer."""

    block = OuterFirstBlock
