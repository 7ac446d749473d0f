"""A small model in float64 that has every module, and random features of any shape for it."""

from dataclasses import replace

import torch

from foldcli.config import ModelConfig, StackConfig, StructureConfig, TemplateConfig
from foldcli.config.model import HeadsConfig
from foldcli.data.features.ring import ring_offsets
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import ChainFeatures, Features, TemplateFeatures

CONFIG = ModelConfig(
    name="small", c_z=8, c_s=12,
    evoformer=StackConfig(blocks=2, c_m=16, msa_heads=2, pair_heads=2, c_outer=4, c_triangle=8),
    extra_msa=StackConfig(blocks=1, c_m=8, msa_heads=2, pair_heads=2, c_outer=4, c_triangle=8),
    template=TemplateConfig(blocks=1, c_t=8, heads=2, c_triangle=8),
    structure=StructureConfig(layers=2, heads=2, c_angles=8, scalar_qk=4, scalar_v=4, point_qk=2, point_v=2),
    heads=HeadsConfig(distogram_bins=6, c_plddt=8, plddt_bins=5, pae=True, pae_bins=6),
)  # fmt: skip
COMPLEXES = replace(CONFIG, complexes=True, structure=replace(CONFIG.structure, scalar_bias=False))


def small_model(dtype: torch.dtype = torch.float64, config: ModelConfig = CONFIG) -> AlphaFold:
    """A model with the same random parameters every time, none of them zero."""
    draws = torch.Generator().manual_seed(1)
    model = AlphaFold(config).to(dtype)
    for parameter in model.parameters():
        fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
        parameter.data = torch.randn(parameter.shape, generator=draws, dtype=dtype) / fan_in**0.5
    return model


def features(
    length: int,
    depth: int,
    extra: int,
    templates: int,
    seed: int,
    batch: tuple[int, ...] = (),
    masked: bool = True,
    cyclic: bool = False,
    complexes: bool = False,
) -> Features:
    """Random features in float64, of one chain, or of two copies of one and another.

    masked: whether the last residue and some letters of the MSA are masked.
    """
    draws = torch.Generator().manual_seed(seed)

    def number(*shape: int) -> torch.Tensor:
        return torch.randn(*batch, *shape, generator=draws, dtype=torch.float64)

    def mask(*shape: int) -> torch.Tensor:
        kept = (torch.rand(*batch, *shape, generator=draws) > 0.2).double()
        kept[..., 0, :1] = 1
        return kept if masked else torch.ones_like(kept)

    def kind(count: int, *shape: int) -> torch.Tensor:
        return torch.randint(count, (*batch, *shape), generator=draws)

    ring = ring_offsets(torch.arange(length)).expand(*batch, length, length) if cyclic else None
    there = torch.ones(*batch, length, dtype=torch.float64)
    there[..., -1] = float(not masked)
    return Features(
        aatype=kind(20, length), residue_index=torch.arange(length).expand(*batch, length), seq_mask=there,
        target_feat=number(length, 21 if complexes else 22), msa_feat=number(depth, length, 49),
        msa_mask=mask(depth, length) * there.unsqueeze(-2), extra_msa=kind(23, extra, length),
        extra_mask=mask(extra, length) * there.unsqueeze(-2), extra_has_deletion=mask(extra, length),
        extra_deletion=number(extra, length),
        templates=_templates(templates, there, number, mask, kind) if templates else None,
        ring_offsets=ring, chains=_chains(length, batch) if complexes else None,
    )  # fmt: skip


def _chains(length: int, batch: tuple[int, ...]) -> ChainFeatures:
    asym = torch.arange(length).mul(3).div(length, rounding_mode="floor").add(1).expand(*batch, length)
    return ChainFeatures(asym=asym, entity=1 + (asym > 2).long(), sym=1 + (asym == 2).long())


def _templates(count: int, there: torch.Tensor, number, mask, kind) -> TemplateFeatures:  # type: ignore[no-untyped-def]
    length, there = there.shape[-1], there.unsqueeze(-2)
    return TemplateFeatures(
        mask=mask(count, 1)[..., 0], aatype=kind(22, count, length), pseudo_beta=5 * number(count, length, 3),
        pseudo_beta_mask=mask(count, length) * there, backbone_mask=mask(count, length) * there,
        torsions=number(count, length, 7, 2), torsions_alt=number(count, length, 7, 2),
        torsions_mask=mask(count, length * 7).unflatten(-1, (length, 7)) * there.unsqueeze(-1),
        backbone=5 * number(count, length, 3, 3),
    )  # fmt: skip
