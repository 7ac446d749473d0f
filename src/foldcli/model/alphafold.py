"""AlphaFold 2: features in, structure and confidence logits out, one recycling pass at a time (Suppl. Alg. 2)."""

from dataclasses import dataclass

import torch
from torch import nn

from foldcli.config import ModelConfig
from foldcli.model.chain_templates import ChainTemplateEmbedder, TemplateChiEmbedder
from foldcli.model.dap_hooks import LocalResidues, QueryRow, pair_mask
from foldcli.model.embedders import ExtraMsaEmbedder, InputEmbedder, RecyclingEmbedder
from foldcli.model.evoformer import EvoformerStack, OuterFirstStack
from foldcli.model.features import Features, Recycled
from foldcli.model.heads import Heads
from foldcli.model.layers import widened
from foldcli.model.structure import StructureModule, StructureState, all_atoms
from foldcli.model.template import TemplatePairEmbedder, TemplateTorsionEmbedder
from foldcli.shapes import Atoms37, Float, Msa, Pair, PairMask, Single, Tensor


@dataclass(frozen=True)
class Folded:
    """What a fold reads of one pass: atoms in angstrom, the logits of pLDDT, and representations.

    The pairs are in the trunk's precision. What a fold is told of aligned errors follows from them, row by row.
    """

    positions: Atoms37
    states: list[StructureState]
    lddt: Float[Tensor, "*b i lddts"]
    msa_first_row: Float[Tensor, "*b i c_m"]
    pair: Pair
    single: Single

    def recycled(self) -> Recycled:
        """The next pass's input; no gradient flows through it (Suppl. Alg. 31)."""
        # clone: a view of the row would keep the whole MSA in memory
        return Recycled(self.msa_first_row.detach().clone(), self.pair.detach(), self.positions.detach())


@dataclass(frozen=True)
class Output(Folded):
    """Output of one pass with the logits of all heads, which losses read."""

    distogram: Float[Tensor, "*b i j distances"]
    masked_msa: Float[Tensor, "*b s i classes"]
    resolved: Float[Tensor, "*b i 37"]
    pae: Float[Tensor, "*b i j errors"] | None


# How templates become pairs and rows, and the kind of both stacks: of a chain's model, and of a model of complexes.
PARTS = TemplatePairEmbedder, TemplateTorsionEmbedder, EvoformerStack
COMPLEX_PARTS = ChainTemplateEmbedder, TemplateChiEmbedder, OuterFirstStack


class Trunk(nn.Module):
    """Embedders, extra-MSA stack and Evoformer, in the precision of their parameters."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c_m, c_z = config.evoformer.c_m, config.c_z
        pairs, torsions, stack = COMPLEX_PARTS if config.complexes else PARTS
        self.local_residues = LocalResidues()
        self.query_row = QueryRow()
        self.input = InputEmbedder(config)
        self.recycling = RecyclingEmbedder(config)
        self.template_pairs = pairs(c_z, config.template) if config.template else None
        self.template_torsions = torsions(c_m) if config.template else None
        self.extra_embedder = ExtraMsaEmbedder(config.extra_msa.c_m)
        self.extra_msa = stack(config.extra_msa, c_z, global_columns=True)
        self.evoformer = stack(config.evoformer, c_z)
        self.single = nn.Linear(c_m, config.c_s)

    def forward(self, features: Features, previous: Recycled) -> tuple[Msa, Pair, Single]:
        m, z = self._embed(features, previous)
        pairs_mask = pair_mask(features.seq_mask.to(z.dtype), self.local_residues)
        if self.template_pairs is not None:
            z = self.template_pairs(z, features, pairs_mask)
        z = self._add_extra_msa(features, z, pairs_mask)
        msa_mask, depth = features.msa_mask.to(z.dtype), m.shape[-3]
        if self.template_torsions is not None and features.templates is not None:
            rows, row_mask = self.template_torsions(features.templates)
            m, msa_mask = torch.cat([m, rows], dim=-3), torch.cat([msa_mask, row_mask], dim=-2)
        m, z = self.evoformer(m, z, msa_mask, pairs_mask)
        return m[..., :depth, :, :], z, self.single(self.query_row(m))

    def _embed(self, features: Features, previous: Recycled) -> tuple[Msa, Pair]:
        """Embed the input and the previous pass (Suppl. Alg. 2, lines 5 and 6)."""
        m, z = self.input(features)
        row, pairs = self.recycling(features.aatype, previous)
        return torch.cat([m[..., :1, :, :] + row.unsqueeze(-3), m[..., 1:, :, :]], dim=-3), z + pairs

    def _add_extra_msa(self, features: Features, z: Pair, mask: PairMask) -> Pair:
        if not self.extra_msa.blocks:
            return z
        extra = self.extra_embedder(features)
        _, z = self.extra_msa(extra, z, features.extra_mask.to(extra.dtype), mask)
        return z


class FoldingModel(nn.Module):
    """The model as a fold runs it; `trunk` may be cast to half precision, all else stays in float32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.local_residues = LocalResidues()
        self.query_row = QueryRow()
        self.trunk = Trunk(config)
        self.structure = StructureModule(config.structure, config.c_s, config.c_z)
        self.heads = Heads(config.heads, config.evoformer.c_m, config.c_z, config.c_s)

    def forward(self, features: Features, previous: Recycled | None = None) -> Folded:
        return self.fold(features, previous)[0]

    def fold(self, features: Features, previous: Recycled | None) -> tuple[Folded, Msa]:
        """What a fold reads, and the MSA."""
        m, z, s = self.trunk(features, previous or self.first_pass(features))
        start = None if features.start is None else self.local_residues(features.start, -2)
        single = widened(s)
        refined, states = self.structure(single, z, features.seq_mask, start)
        found = Folded(
            positions=all_atoms(self.local_residues(features.aatype, -1), states[-1]),
            states=states,
            lddt=self.heads.lddt(refined),
            msa_first_row=widened(self.query_row(m)),
            pair=z,
            single=single,
        )
        return found, m

    def recycle(self, features: Features, previous: Recycled | None) -> Recycled:
        """What the next pass takes of this one, without logits that only losses read."""
        return self.fold(features, previous)[0].recycled()

    def first_pass(self, features: Features) -> Recycled:
        """What the first pass recycles: zeros (Suppl. Alg. 2, line 1)."""
        shape, zeros = features.aatype.shape, features.msa_feat.new_zeros
        rows, c_m, c_z = self.local_residues(features.aatype, -1).shape, self.config.evoformer.c_m, self.config.c_z
        pair = zeros(*rows, shape[-1], c_z, dtype=self.trunk.single.weight.dtype)
        return Recycled(zeros(*shape, c_m), pair, zeros(*shape, 37, 3))


class AlphaFold(FoldingModel):
    """The whole model, with the logits of all heads."""

    def forward(self, features: Features, previous: Recycled | None = None) -> Output:
        found, m = self.fold(features, previous)
        z, heads = widened(found.pair), self.heads
        return Output(
            **vars(found),
            distogram=heads.distogram(z),
            masked_msa=heads.masked_msa(widened(m)),
            resolved=heads.resolved(found.single),
            pae=None if heads.pae is None else heads.pae(z),
        )
