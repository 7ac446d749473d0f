"""Embed features into the initial MSA and pair representations."""

import torch
import torch.nn.functional as F
from torch import nn

from foldcli.config import ModelConfig
from foldcli.geometry.atoms import bin_table, distance_bin, pseudo_beta
from foldcli.model.dap_hooks import LocalResidues
from foldcli.model.features import Features, Recycled
from foldcli.model.layers import LayerNorm
from foldcli.shapes import Float, Int, Msa, Pair, ResidueIndex, Tensor

C_MSA, EXTRA_CLASSES = 49, 23


class RelativePositions(nn.Linear):
    """Embed i - j, clipped, by a table look-up: it equals a linear layer on one-hot vectors (Suppl. Alg. 4, 5)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(relative_channels(config), config.c_z)
        self.max_relative = config.max_relative
        self.local_residues = LocalResidues()

    def forward(self, features: Features) -> Pair:  # type: ignore[override]
        return F.embedding(self.offsets(features), self.weight.T) + self.bias

    def offsets(self, features: Features) -> Int[Tensor, "*b i j"]:
        """i - j from 0, which stands for the largest distance to the left."""
        if features.ring_offsets is None:
            offset = self.differences(features.residue_index)
        else:
            offset = self.local_residues(features.ring_offsets, -2)
        return (offset + self.max_relative).clamp(0, 2 * self.max_relative)

    def differences(self, number: ResidueIndex) -> Int[Tensor, "*b i j"]:
        """The number of residue i minus that of j."""
        return self.local_residues(number, -1).unsqueeze(-1) - number.unsqueeze(-2)


class ChainRelativePositions(RelativePositions):
    """Embed i - j within a chain, whether two chains have one sequence, and how far apart these copies are numbered.

    Two chains are farther apart than any two residues of one (Evans et al. 2021, AlphaFold-Multimer).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.max_copies = config.max_relative_copies

    def forward(self, features: Features) -> Pair:  # type: ignore[override]
        assert features.chains is not None, "a model of complexes is told chains apart"
        positions, copies = 2 * self.max_relative + 2, 2 * self.max_copies + 2
        offset = torch.where(self.differences(features.chains.asym) == 0, self.offsets(features), positions - 1)
        copy = (self.differences(features.chains.sym) + self.max_copies).clamp(0, copies - 2)
        copy = torch.where(self.differences(features.chains.entity) == 0, copy, copies - 1)
        by_offset, same_entity, by_copy = self.weight.T.split([positions, 1, copies])
        # All but the last kind of copies are of the same entity.
        by_copy = torch.cat([by_copy[:-1] + same_entity, by_copy[-1:]])
        table = (by_offset.unsqueeze(1) + by_copy).flatten(0, 1)
        return F.embedding(offset * copies + copy, table) + self.bias


def relative_channels(config: ModelConfig) -> int:
    """Clipped offsets; of complexes also another chain, the same entity, clipped numbers of copies, another entity."""
    offsets, copies = 2 * config.max_relative + 1, 2 * config.max_relative_copies + 1
    return offsets + (1 + 1 + copies + 1 if config.complexes else 0)


class InputEmbedder(nn.Module):
    """Embed the sequence, its clustered alignment and relative positions (Suppl. Alg. 3, 4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.local_residues = LocalResidues()
        self.target = nn.Linear(config.c_target, config.evoformer.c_m)
        self.msa = nn.Linear(C_MSA, config.evoformer.c_m)
        self.left = nn.Linear(config.c_target, config.c_z)
        self.right = nn.Linear(config.c_target, config.c_z)
        self.relative = (ChainRelativePositions if config.complexes else RelativePositions)(config)

    def forward(self, features: Features) -> tuple[Msa, Pair]:
        dtype = self.target.weight.dtype
        target, msa = features.target_feat.to(dtype), features.msa_feat.to(dtype)
        m = self.msa(msa) + self.target(target).unsqueeze(-3)
        z = self.left(self.local_residues(target, -2)).unsqueeze(-2) + self.right(target).unsqueeze(-3)
        return m, z + self.relative(features)


class RecyclingEmbedder(nn.Module):
    """Embed the previous pass's first MSA row, pairs and CB distances (Suppl. Alg. 32)."""

    FIRST_BIN, LAST_BIN, BINS = 3.25, 20.75, 15

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.local_residues = LocalResidues()
        self.norm_m = LayerNorm(config.evoformer.c_m)
        self.norm_z = LayerNorm(config.c_z)
        self.distances = nn.Linear(self.BINS, config.c_z)

    def forward(self, aatype: ResidueIndex, previous: Recycled) -> tuple[Float[Tensor, "*b i c_m"], Pair]:
        beta = pseudo_beta(aatype, previous.positions)
        bins = distance_bin(self.local_residues(beta, -2), beta, self.FIRST_BIN, self.LAST_BIN, self.BINS)
        dtype, table = self.distances.weight.dtype, bin_table(self.distances.weight) + self.distances.bias
        z = F.embedding(bins, table) + self.norm_z(previous.pair.to(dtype))
        return self.norm_m(previous.msa_first_row.to(dtype)), z


class ExtraMsaEmbedder(nn.Module):
    """Embed the sequences of the MSA that are not cluster centres (Suppl. Alg. 2, lines 14 and 15)."""

    def __init__(self, c_e: int) -> None:
        super().__init__()
        self.project = nn.Linear(EXTRA_CLASSES + 2, c_e)

    def forward(self, features: Features) -> Msa:
        types, deletions = self.project.weight.split([EXTRA_CLASSES, 2], dim=-1)
        counts = torch.stack([features.extra_has_deletion, features.extra_deletion], dim=-1).to(types.dtype)
        return self.residue_types(features.extra_msa, types) + F.linear(counts, deletions, self.project.bias)

    @staticmethod
    def residue_types(extra_msa: Int[Tensor, "*b e i"], weight: Float[Tensor, "c_e k"]) -> Msa:
        """Embed by table look-up: one-hot vectors of thousands of sequences would take too much memory."""
        return F.embedding(extra_msa, weight.T)
