"""Templates of a complex, each of which is of one chain (Evans et al. 2021, AlphaFold-Multimer)."""

import torch
import torch.nn.functional as F
from torch import nn

from foldcli.config import TemplateConfig
from foldcli.geometry.atoms import bin_table, distance_bin
from foldcli.geometry.rigid import EPS, Rigid
from foldcli.geometry.rigid_groups import backbone_frames
from foldcli.model.dap_hooks import LocalResidues, pair_mask
from foldcli.model.features import Features, TemplateFeatures
from foldcli.model.layers import LayerNorm
from foldcli.model.template import (
    BINS,
    CLASSES,
    FIRST_BIN,
    LAST_BIN,
    TemplatePairBlock,
    TemplateTorsionEmbedder,
)
from foldcli.shapes import Float, MsaMask, Pair, PairMask, Tensor

C_GEOMETRY = BINS + 1 + 3 + 1


class ProductsFirstBlock(TemplatePairBlock):
    """One block of the pair stack, in the Evoformer's order: products before attention."""

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        z = self.add(z, self.outgoing(z, mask))
        z = self.add(z, self.incoming(z, mask))
        z = self.add(z, self.starting(z, mask))
        z = self.add_ending(z, self.transpose(self.ending(self.transpose(z), mask)))
        return z + self.transition(z)


class ChainTemplateEmbedder(nn.Module):
    """Pair update from templates: embed each with the pairs, refine it, and take the mean over all.

    Slots without a template count in the mean, as alanines of which nothing is known.
    """

    def __init__(self, c_z: int, config: TemplateConfig) -> None:
        super().__init__()
        self.local_residues = LocalResidues()
        self.norm_z = LayerNorm(c_z)
        self.pairs = nn.Linear(c_z, config.c_t)
        self.geometry = nn.Linear(C_GEOMETRY, config.c_t, bias=False)
        self.row_types = nn.Linear(CLASSES, config.c_t, bias=False)
        self.column_types = nn.Linear(CLASSES, config.c_t, bias=False)
        self.blocks = nn.ModuleList(ProductsFirstBlock(config) for _ in range(config.blocks))
        self.norm = LayerNorm(config.c_t)
        self.output = nn.Linear(config.c_t, c_z)

    def forward(self, z: Pair, features: Features, mask: PairMask) -> Pair:
        """The pairs with the update."""
        templates = features.templates or empty_slot(features)
        t = self.embed(z, templates, self.same_chain(features))
        each = mask.unsqueeze(-3).expand(t.shape[:-1])
        for block in self.blocks:
            t = block(t, each)
        return z + self.output(self.norm(t).mean(-4).relu())

    def embed(self, z: Pair, templates: TemplateFeatures, same_chain: PairMask) -> Float[Tensor, "*b t i j c_t"]:
        """Each template as pairs, before the blocks."""
        rows = F.embedding(self.local_residues(templates.aatype, -1), self.row_types.weight.T)
        columns = F.embedding(templates.aatype, self.column_types.weight.T)
        pairs = self.pairs(self.norm_z(z)).unsqueeze(-4)
        return pairs + self.embed_geometry(templates, same_chain) + rows.unsqueeze(-2) + columns.unsqueeze(-3)

    def embed_geometry(self, templates: TemplateFeatures, same_chain: PairMask) -> Float[Tensor, "*b t i j c_t"]:
        """Distances between CB, directions of CA in the frames of backbones, and which are known; none between chains.

        Distances by look-up: one-hot vectors of all pairs take many times the memory of the pairs.
        """
        distance, known, rest = self.geometry.weight.split([BINS, 1, C_GEOMETRY - BINS - 1], dim=-1)
        local, points, dtype = self.local_residues, templates.pseudo_beta, distance.dtype
        bins = distance_bin(local(points, -2), points, FIRST_BIN, LAST_BIN, BINS)
        beta, backbone = (
            (pair_mask(mask, local) * same_chain.unsqueeze(-3)).unsqueeze(-1)
            for mask in (templates.pseudo_beta_mask, templates.backbone_mask)
        )
        directions = torch.cat([template_directions(templates, local) * backbone, backbone], dim=-1)
        table = bin_table(distance) + known.T
        return F.embedding(bins, table) * beta.to(dtype) + F.linear(directions.to(dtype), rest)

    def same_chain(self, features: Features) -> PairMask:
        """1 where both residues of a pair are in one chain."""
        assert features.chains is not None, "a model of complexes is told chains apart"
        asym = features.chains.asym
        same = self.local_residues(asym, -1).unsqueeze(-1) == asym.unsqueeze(-2)
        return same.to(features.seq_mask.dtype)


class TemplateChiEmbedder(TemplateTorsionEmbedder):
    """One MSA row, and its mask, from each template's residue types and side-chain torsions chi1 to chi4."""

    C_TORSIONS = 4 + 4 + 4

    def torsions(self, templates: TemplateFeatures) -> tuple[Float[Tensor, "*b t i c"], MsaMask]:
        """The four sines, the four cosines, which are known; known is a residue that has chi1."""
        known = templates.torsions_mask[..., 3:]
        sines, cosines = (templates.torsions[..., 3:, :] * known.unsqueeze(-1)).unbind(-1)
        return torch.cat([sines, cosines, known], dim=-1), known[..., 0]


def template_directions(templates: TemplateFeatures, local_residues: LocalResidues) -> Float[Tensor, "*b t i j 3"]:
    """Unit vectors from each residue's CA to all others, in the frame of its backbone."""
    assert templates.backbone is not None, "templates of complexes have frames"
    frames = backbone_frames(templates.backbone)
    rows = Rigid(local_residues(frames.rotation, -3), local_residues(frames.translation, -2))
    columns = frames.translation.unsqueeze(-3).expand(*rows.translation.shape[:-1], -1, -1)
    toward = rows.invert_apply(columns)
    return toward / (toward.square().sum(-1, keepdim=True) + EPS).sqrt()


def empty_slot(features: Features) -> TemplateFeatures:
    """One slot without a template."""
    aatype, mask = features.aatype.unsqueeze(-2), features.seq_mask.unsqueeze(-2)
    point, torsions, none = mask.new_zeros(*mask.shape, 3), mask.new_zeros(*mask.shape, 7, 2), torch.zeros_like(mask)
    return TemplateFeatures(
        mask=none[..., 0],
        aatype=torch.zeros_like(aatype),
        pseudo_beta=point,
        pseudo_beta_mask=none,
        backbone_mask=none,
        torsions=torsions,
        torsions_alt=torsions,
        torsions_mask=torsions[..., 0],
        backbone=mask.new_zeros(*mask.shape, 3, 3),
    )
