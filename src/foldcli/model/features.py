"""What one pass of the model takes."""

from dataclasses import dataclass

from foldcli.shapes import Float, Int, Tensor


@dataclass(frozen=True)
class TemplateFeatures:
    """Known structures laid over the query.

    mask [t], 1 where there is a template; aatype [t i], 0..20 and 21 a gap; pseudo_beta [t i 3] in angstrom with its
    mask [t i]; backbone_mask [t i], 1 where N, CA and C stand; torsions [t i 7 2], sine and cosine of pre-omega, phi,
    psi and chi1 to chi4, torsions_alt the same with the pi-periodic ones turned by pi, torsions_mask [t i 7].
    """

    mask: Float[Tensor, "*b t"]
    aatype: Int[Tensor, "*b t i"]
    pseudo_beta: Float[Tensor, "*b t i 3"]
    pseudo_beta_mask: Float[Tensor, "*b t i"]
    backbone_mask: Float[Tensor, "*b t i"]
    torsions: Float[Tensor, "*b t i 7 2"]
    torsions_alt: Float[Tensor, "*b t i 7 2"]
    torsions_mask: Float[Tensor, "*b t i 7"]


@dataclass(frozen=True)
class Features:
    """The model's input for one recycling pass (Suppl. Table 1).

    aatype [i], 0..20; residue_index [i]; seq_mask [i]; target_feat [i 22]; msa_feat [s i 49] with msa_mask [s i];
    extra_msa [e i] residue types 0..22 with extra_mask, extra_has_deletion and extra_deletion [e i].
    """

    aatype: Int[Tensor, "*b i"]
    residue_index: Int[Tensor, "*b i"]
    seq_mask: Float[Tensor, "*b i"]
    target_feat: Float[Tensor, "*b i 22"]
    msa_feat: Float[Tensor, "*b s i 49"]
    msa_mask: Float[Tensor, "*b s i"]
    extra_msa: Int[Tensor, "*b e i"]
    extra_mask: Float[Tensor, "*b e i"]
    extra_has_deletion: Float[Tensor, "*b e i"]
    extra_deletion: Float[Tensor, "*b e i"]
    templates: TemplateFeatures | None = None


@dataclass(frozen=True)
class Recycled:
    """What one pass hands to the next: the first MSA row, the pairs and the atoms, in angstrom."""

    msa_first_row: Float[Tensor, "*b i c_m"]
    pair: Float[Tensor, "*b i j c_z"]
    positions: Float[Tensor, "*b i 37 3"]
