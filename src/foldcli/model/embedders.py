"""Embed features into the initial MSA and pair representations."""

import torch
import torch.nn.functional as F
from torch import nn

from foldcli.config import ModelConfig
from foldcli.geometry.atoms import distance_bins, pseudo_beta
from foldcli.model.dap_hooks import LocalResidues
from foldcli.model.features import Features, Recycled
from foldcli.model.layers import LayerNorm
from foldcli.shapes import Float, Int, Msa, Pair, ResidueIndex, Tensor

C_TARGET, C_MSA, EXTRA_CLASSES = 22, 49, 23


class InputEmbedder(nn.Module):
    """Embed the sequence, its clustered alignment and relative positions (Suppl. Alg. 3, 4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.max_relative = config.max_relative
        self.local_residues = LocalResidues()
        self.target = nn.Linear(C_TARGET, config.evoformer.c_m)
        self.msa = nn.Linear(C_MSA, config.evoformer.c_m)
        self.left = nn.Linear(C_TARGET, config.c_z)
        self.right = nn.Linear(C_TARGET, config.c_z)
        self.relative = nn.Linear(2 * config.max_relative + 1, config.c_z)

    def forward(
        self,
        target: Float[Tensor, "*b i c_t"],
        msa: Float[Tensor, "*b s i c"],
        residue_index: ResidueIndex,
        ring_offsets: Int[Tensor, "*b i j"] | None = None,
    ) -> tuple[Msa, Pair]:
        m = self.msa(msa) + self.target(target).unsqueeze(-3)
        z = self.left(self.local_residues(target, -2)).unsqueeze(-2) + self.right(target).unsqueeze(-3)
        if ring_offsets is None:
            offset = self.local_residues(residue_index, -1).unsqueeze(-1) - residue_index.unsqueeze(-2)
        else:
            offset = self.local_residues(ring_offsets, -2)
        return m, z + self.relative_positions(offset)

    def relative_positions(self, offset: Int[Tensor, "*b i j"]) -> Pair:
        """Embed i - j, clipped, by a table look-up: it equals a linear layer on one-hot vectors (Suppl. Alg. 4, 5)."""
        offset = (offset + self.max_relative).clamp(0, 2 * self.max_relative)
        return F.embedding(offset, self.relative.weight.T) + self.relative.bias


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
        bins = distance_bins(self.local_residues(beta, -2), beta, self.FIRST_BIN, self.LAST_BIN, self.BINS)
        dtype = self.distances.weight.dtype
        z = self.distances(bins.to(dtype)) + self.norm_z(previous.pair.to(dtype))
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
