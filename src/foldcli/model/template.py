"""Embed templates into the pair representation (Suppl. Alg. 2, lines 9 to 13) and as rows of the MSA."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from foldcli.config import TemplateConfig
from foldcli.geometry.atoms import bin_table, distance_bin, residue_table
from foldcli.model.dap_hooks import LocalResidues, LocalTemplates, PairTranspose, pair_mask
from foldcli.model.features import Features, TemplateFeatures
from foldcli.model.layers import DropoutAdd, LayerNorm, Transition
from foldcli.model.triangle import IncomingProduct, OutgoingProduct, TriangleAttention, TriangleMultiplication
from foldcli.ops.attention import MASK_BIAS
from foldcli.shapes import Float, Msa, MsaMask, Pair, PairMask, Tensor

CLASSES = 22
# One-hot vectors, of which a look-up takes one launch on a GPU, and F.one_hot four with its conversion.
TYPES = np.eye(CLASSES, dtype=np.float32)
FIRST_BIN, LAST_BIN, BINS = 3.25, 50.75, 39
C_DIRECTIONS = 3  # unit vectors: zero in every published model
C_PAIR_FEATURES = BINS + 1 + 2 * CLASSES + C_DIRECTIONS + 1


class TemplatePairBlock(nn.Module):
    """One block of the template pair stack (Suppl. Alg. 16): attention first; the mask must be symmetric."""

    def __init__(self, config: TemplateConfig) -> None:
        super().__init__()
        self.starting = TriangleAttention(config.c_t, config.heads)
        self.ending = TriangleAttention(config.c_t, config.heads)
        self.outgoing = TriangleMultiplication(config.c_t, config.c_triangle, OutgoingProduct())
        self.incoming = TriangleMultiplication(config.c_t, config.c_triangle, IncomingProduct())
        self.transition = Transition(config.c_t, config.transition_factor)
        self.transpose = PairTranspose()
        self.add = DropoutAdd(config.dropout, shared=-3)
        self.add_ending = DropoutAdd(config.dropout, shared=-2)

    def forward(self, z: Pair, mask: PairMask) -> Pair:
        z = self.add(z, self.starting(z, mask))
        z = self.add_ending(z, self.transpose(self.ending(self.transpose(z), mask)))
        z = self.add(z, self.outgoing(z, mask))
        z = self.add(z, self.incoming(z, mask))
        return z + self.transition(z)


class TemplatePointwiseAttention(nn.Module):
    """Each pair attends to the same pair of all templates (Suppl. Alg. 17)."""

    def __init__(self, c_z: int, config: TemplateConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(c_z, config.c_t, bias=False)
        self.key = nn.Linear(config.c_t, config.c_t, bias=False)
        self.value = nn.Linear(config.c_t, config.c_t, bias=False)
        self.output = nn.Linear(config.c_t, c_z)

    def forward(self, z: Pair, t: Float[Tensor, "*b t i j c_t"], mask: Float[Tensor, "*b t"]) -> Pair:
        q = self.query(z).unflatten(-1, (self.heads, -1)).unsqueeze(-5)  # [1, i, j, h, d]
        k, v = (project(t).unflatten(-1, (self.heads, -1)) for project in (self.key, self.value))
        wide = torch.promote_types(q.dtype, torch.float32)
        logits = (q * k).sum(-1, dtype=wide) * q.shape[-1] ** -0.5
        weight = (logits + ((mask.to(wide) - 1) * -MASK_BIAS)[..., None, None, None]).softmax(-4).to(v.dtype)
        return self.output((weight.unsqueeze(-1) * v).sum(-5).flatten(-2))


class TemplatePairEmbedder(nn.Module):
    """Pair update from templates: embed and refine each, then attend over all (Suppl. Alg. 2, lines 9 to 12)."""

    def __init__(self, c_z: int, config: TemplateConfig) -> None:
        super().__init__()
        self.local_residues = LocalResidues()
        self.embed = nn.Linear(C_PAIR_FEATURES, config.c_t)
        self.blocks = nn.ModuleList(TemplatePairBlock(config) for _ in range(config.blocks))
        self.norm = LayerNorm(config.c_t)
        self.attention = TemplatePointwiseAttention(c_z, config)

    def forward(self, z: Pair, features: Features, mask: PairMask) -> Pair:
        """The pairs with the update; without templates they stay as they are."""
        templates = features.templates
        if templates is None:
            return z
        t = self.embed_pairs(templates, z.dtype)
        each = mask.unsqueeze(-3).expand(t.shape[:-1])
        for block in self.blocks:
            t = block(t, each)
        present = templates.mask
        update = self.attention(z, self.norm(t), present)
        return z + update * (present.sum(-1) > 0).to(z.dtype)[..., None, None, None]

    def embed_pairs(self, templates: TemplateFeatures, dtype: torch.dtype) -> Float[Tensor, "*b t i j c_t"]:
        """Distances, residue types and masks of each template's pairs (Suppl. Table 1), zero without a backbone.

        Distances by look-up: one-hot vectors of all pairs take many times the memory of the pairs.
        """
        distance, known, columns, rows, _, present = self.embed.weight.split(
            [BINS, 1, CLASSES, CLASSES, C_DIRECTIONS, 1], dim=-1
        )
        local, beta = self.local_residues, templates.pseudo_beta
        bins = distance_bin(local(beta, -2), beta, FIRST_BIN, LAST_BIN, BINS)
        types = residue_table(TYPES, templates.aatype, known)
        ends = F.linear(local(types, -2), rows), F.linear(types, columns)
        both, backbone = (
            pair_mask(mask, local).to(dtype).unsqueeze(-1)
            for mask in (templates.pseudo_beta_mask, templates.backbone_mask)
        )
        t = F.embedding(bins, bin_table(distance) + present.T) + both * known.T
        return (t + ends[0].unsqueeze(-2) + ends[1].unsqueeze(-3)) * backbone + self.embed.bias


class TemplateTorsionEmbedder(nn.Module):
    """One MSA row, and its mask, from each template's residue types and torsions (Suppl. Alg. 2, lines 7 and 8)."""

    C_TORSIONS = 14 + 14 + 7

    def __init__(self, c_m: int) -> None:
        super().__init__()
        self.local_templates = LocalTemplates()
        self.embed = nn.Linear(CLASSES + self.C_TORSIONS, c_m)
        self.project = nn.Linear(c_m, c_m)

    def forward(self, templates: TemplateFeatures) -> tuple[Msa, MsaMask]:
        templates = self.local_templates(templates)
        types = residue_table(TYPES, templates.aatype, templates.torsions)
        torsions, mask = self.torsions(templates)
        features = torch.cat([types, torsions], dim=-1).to(self.embed.weight.dtype)
        return self.project(self.embed(features).relu()), mask.to(features.dtype)

    def torsions(self, templates: TemplateFeatures) -> tuple[Float[Tensor, "*b t i c"], MsaMask]:
        """All seven torsions, and the mask of the row."""
        angles = [templates.torsions.flatten(-2), templates.torsions_alt.flatten(-2), templates.torsions_mask]
        # psi alone needs only the residue's own backbone: where it is defined, the residue is known
        return torch.cat(angles, dim=-1), templates.torsions_mask[..., 2]
