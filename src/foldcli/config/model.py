"""AlphaFold 2's widths and depths; the defaults are the published models' (Jumper et al. 2021)."""

from dataclasses import dataclass, field

# What `foldcli.devices` chooses from.
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class StackConfig:
    """An Evoformer stack (Suppl. Alg. 6), or the extra-MSA stack (Alg. 18) with its own width and depth."""

    blocks: int = 48
    c_m: int = 256  # channels of the MSA representation
    msa_heads: int = 8
    pair_heads: int = 4  # of triangle attention
    c_outer: int = 32  # channels of the outer product mean, before the product
    c_triangle: int = 128  # channels inside a triangle multiplication
    transition_factor: int = 4  # widening inside the transitions
    msa_dropout: float = 0.15
    pair_dropout: float = 0.25


@dataclass(frozen=True)
class TemplateConfig:
    """Template embedding: pair stack (Suppl. Alg. 16), pointwise attention (Alg. 17) and rows of torsion angles."""

    blocks: int = 2
    c_t: int = 64  # channels of a template's pair representation
    heads: int = 4
    c_triangle: int = 64
    transition_factor: int = 2
    dropout: float = 0.25


@dataclass(frozen=True)
class StructureConfig:
    """Structure module (Suppl. Alg. 20) with invariant point attention (Alg. 22)."""

    layers: int = 8  # all with the same parameters
    heads: int = 12
    scalar_qk: int = 16  # channels of a head's queries and keys
    scalar_v: int = 16
    point_qk: int = 4  # points of a head's queries and keys
    point_v: int = 8
    c_angles: int = 128  # channels of the torsion angles' network
    angle_blocks: int = 2
    scalar_bias: bool = True  # whether the projections to scalar queries, keys and values have a bias
    position_scale: float = 10.0  # angstrom for each unit of the module's own coordinates
    dropout: float = 0.1
    start_at_template: bool = False  # whether frames go on from the first template's after one layer


@dataclass(frozen=True)
class HeadsConfig:
    """Prediction heads (Suppl. Sec. 1.9)."""

    msa_classes: int = 23  # kinds of residues that the masked MSA's head tells apart: 22 leaves out the mask
    distogram_bins: int = 64
    distogram_first_break: float = 2.3125  # angstrom
    distogram_last_break: float = 21.6875  # angstrom
    plddt_bins: int = 50
    c_plddt: int = 128  # channels inside the pLDDT head
    pae: bool = False  # whether there is a head for predicted aligned errors, as in the pTM models only
    pae_bins: int = 64
    pae_last_break: float = 31.0  # angstrom


@dataclass(frozen=True)
class MsaConfig:
    """How an alignment becomes features (Suppl. Sec. 1.2.7)."""

    max_clusters: int = 512  # rows of the MSA: cluster centres, the sequence itself first
    max_extra: int = 1024  # rows of the extra MSA
    mask_fraction: float = 0.15  # of the cluster centres' residues; what a masked one becomes is drawn:
    uniform_prob: float = 0.1  # any amino acid
    profile_prob: float = 0.1  # one from the column's profile
    same_prob: float = 0.1  # itself; else the mask


@dataclass(frozen=True)
class ModelConfig:
    """The widths and depths of one preset, of its parts, and what it is shown."""

    name: str
    c_z: int = 128  # channels of the pair representation
    c_s: int = 384  # channels of the single representation
    max_relative: int = 32  # largest distance along the sequence that relative positions distinguish, residues
    max_relative_copies: int = 2  # of complexes: largest distance of copies of a chain that they distinguish
    evoformer: StackConfig = field(default_factory=StackConfig)
    extra_msa: StackConfig = field(default_factory=lambda: StackConfig(blocks=4, c_m=64))
    template: TemplateConfig | None = None  # None: the model takes no templates
    complexes: bool = False  # whether it is a model of complexes (AlphaFold-Multimer), which is told chains apart
    library: bool = False  # whether it takes templates from the library of known structures
    side_chains: bool = True  # whether it has learnt side chains; else predictions hold the backbone and CB alone
    surest_pass: bool = False  # whether a fold keeps the recycling pass of the highest mean pLDDT, not the last
    structure: StructureConfig = field(default_factory=StructureConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    msa: MsaConfig = field(default_factory=MsaConfig)
    # What `foldcli fold` does where its flags say nothing else; see FoldConfig.
    num_recycle: int = 3
    recycle_early_stop_tolerance: float = 0.0

    @property
    def c_target(self) -> int:
        """Channels of a residue's type; the first of the monomer models' marks a break between domains."""
        return 21 if self.complexes else 22
