"""The input of one pass of the model."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from foldcli.shapes import Float, Int, StartFrames, Tensor

Inputs = TypeVar("Inputs", "Features", "TemplateFeatures", "ChainFeatures", "Recycled")


@dataclass(frozen=True)
class TemplateFeatures:
    """Templates: known structures aligned to the query. Masks are 1 where something is known."""

    mask: Float[Tensor, "*b t"]  # 0 for padding
    aatype: Int[Tensor, "*b t i"]  # 0..20; 21 is a gap
    pseudo_beta: Float[Tensor, "*b t i 3"]  # CB, or CA of glycine, in angstrom
    pseudo_beta_mask: Float[Tensor, "*b t i"]
    backbone_mask: Float[Tensor, "*b t i"]  # N, CA and C are known
    torsions: Float[Tensor, "*b t i 7 2"]  # sine and cosine of pre-omega, phi, psi, chi1 to chi4
    torsions_alt: Float[Tensor, "*b t i 7 2"]  # the same with pi-periodic ones turned by pi
    torsions_mask: Float[Tensor, "*b t i 7"]
    backbone: Float[Tensor, "*b t i 3 3"] | None = None  # N, CA and C in angstrom, for models of complexes


@dataclass(frozen=True)
class ChainFeatures:
    """Which chain of a complex each residue is in (Evans et al. 2021, Suppl. Sec. 7.1); all numbers count from 1."""

    asym: Int[Tensor, "*b i"]  # the chain
    entity: Int[Tensor, "*b i"]  # the chain's sequence: copies have one number
    sym: Int[Tensor, "*b i"]  # the chain among the copies of its sequence


@dataclass(frozen=True)
class Features:
    """The model's input for one recycling pass (Suppl. Table 1)."""

    aatype: Int[Tensor, "*b i"]  # 0..20
    residue_index: Int[Tensor, "*b i"]
    seq_mask: Float[Tensor, "*b i"]
    target_feat: Float[Tensor, "*b i c_t"]  # one-hot types, without a channel for breaks if the model is of complexes
    msa_feat: Float[Tensor, "*b s i 49"]
    msa_mask: Float[Tensor, "*b s i"]
    extra_msa: Int[Tensor, "*b e i"]  # residue types 0..22
    extra_mask: Float[Tensor, "*b e i"]
    extra_has_deletion: Float[Tensor, "*b e i"]
    extra_deletion: Float[Tensor, "*b e i"]
    templates: TemplateFeatures | None = None
    # of a cyclic chain: how far residue i is ahead of j by the shorter way around the ring; replaces residue_index
    ring_offsets: Int[Tensor, "*b i j"] | None = None
    start: StartFrames | None = None  # where the structure module's second layer starts; zero where it goes on
    chains: ChainFeatures | None = None  # of a complex, for models of complexes


@dataclass(frozen=True)
class Recycled:
    """What a pass hands to the next: the first MSA row, the pair representation, and atoms in angstrom."""

    msa_first_row: Float[Tensor, "*b i c_m"]
    pair: Float[Tensor, "*b i j c_z"]
    positions: Float[Tensor, "*b i 37 3"]


def map_tensors(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same inputs with every tensor changed, those of templates and chains too."""
    changed: dict[str, Any] = {f.name: getattr(inputs, f.name) for f in fields(inputs)}
    for name, value in changed.items():
        if value is not None:
            changed[name] = change(value) if isinstance(value, Tensor) else map_tensors(value, change)
    return replace(inputs, **changed)
