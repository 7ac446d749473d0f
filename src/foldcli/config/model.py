"""AlphaFold 2's widths and depths; the defaults are the published models' (Jumper et al. 2021)."""

from dataclasses import dataclass, field

# Where a model may run, and in which type.
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class StackConfig:
    """An Evoformer stack (Suppl. Alg. 6), or the extra-MSA stack (Alg. 18) with its own width and depth."""

    blocks: int = 48
    c_m: int = 256
    msa_heads: int = 8
    pair_heads: int = 4
    c_outer: int = 32
    c_triangle: int = 128
    transition_factor: int = 4
    msa_dropout: float = 0.15
    pair_dropout: float = 0.25


@dataclass(frozen=True)
class TemplateConfig:
    """Template embedding: pair stack (Suppl. Alg. 16), point-wise attention (Alg. 17) and torsion rows."""

    blocks: int = 2
    c_t: int = 64
    heads: int = 4
    c_triangle: int = 64
    transition_factor: int = 2
    dropout: float = 0.25


@dataclass(frozen=True)
class StructureConfig:
    """Structure module (Suppl. Alg. 20); position_scale is in angstrom per unit of its internal coordinates."""

    layers: int = 8
    heads: int = 12
    scalar_qk: int = 16
    scalar_v: int = 16
    point_qk: int = 4
    point_v: int = 8
    c_angles: int = 128
    angle_blocks: int = 2
    position_scale: float = 10.0
    dropout: float = 0.1


@dataclass(frozen=True)
class HeadsConfig:
    """Prediction heads (Suppl. Sec. 1.9); breaks are in angstrom; `pae` is there in the pTM models only."""

    distogram_bins: int = 64
    distogram_first_break: float = 2.3125
    distogram_last_break: float = 21.6875
    plddt_bins: int = 50
    c_plddt: int = 128
    pae: bool = False
    pae_bins: int = 64
    pae_last_break: float = 31.0


@dataclass(frozen=True)
class MsaConfig:
    """How an alignment becomes features (Suppl. Sec. 1.2.7): rows kept, rows masked and what masks them."""

    max_clusters: int = 512
    max_extra: int = 1024
    mask_fraction: float = 0.15
    uniform_prob: float = 0.1
    profile_prob: float = 0.1
    same_prob: float = 0.1


@dataclass(frozen=True)
class ModelConfig:
    """AlphaFold 2's widths and depths, as one preset.

    library: it takes templates from the library of known folds; side_chains: it has learnt them, otherwise backbones
    and CB are all that a prediction holds.
    """

    name: str
    c_z: int = 128
    c_s: int = 384
    max_relative: int = 32
    evoformer: StackConfig = field(default_factory=StackConfig)
    extra_msa: StackConfig = field(default_factory=lambda: StackConfig(blocks=4, c_m=64))
    template: TemplateConfig | None = None
    library: bool = False
    side_chains: bool = True
    structure: StructureConfig = field(default_factory=StructureConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    msa: MsaConfig = field(default_factory=MsaConfig)
