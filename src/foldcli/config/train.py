"""The settings of `foldcli train`; the defaults are AlphaFold's initial training (Suppl. Sec. 1.11, Table 4)."""

from dataclasses import dataclass, field
from typing import ClassVar

from foldcli.config.build import require_amounts, require_choices, require_smallest
from foldcli.config.model import DEVICES, PRECISIONS, ModelConfig
from foldcli.errors import InputError

SHORTEST_CROP = 4  # residues


@dataclass(frozen=True)
class LossConfig:
    """The weight of each term of the loss (Suppl. Sec. 1.9, Eq. 7), and how terms are computed; 0 leaves a term out."""

    backbone_fape: float = 0.5  # clamped frame aligned point error of the backbone
    side_chain_fape: float = 0.5  # the same of all atoms and rigid groups, of the last layer
    smooth_lddt: float = 0.0  # 1 - smooth lDDT of CA atoms, as in AlphaFold 3
    chi: float = 0.5  # sine and cosine of the side chains' torsion angles
    angle_norm: float = 0.01  # how far (sine, cosine) are from length 1
    distogram: float = 0.3
    masked_msa: float = 2.0
    lddt: float = 0.01  # predicted lDDT
    resolved: float = 0.0  # experimentally resolved atoms
    pae: float = 0.0  # predicted aligned error; needs model.heads.pae
    violations: float = 0.0  # bonds, angles and clashes
    every_layer: bool = True  # backbone_fape: the mean over the structure module's layers, else the last one's alone
    clamp: float = 0.9  # fraction of samples whose backbone FAPE is clamped
    min_resolution: float = 0.1  # angstrom: lddt, resolved and pae learn from chains between this one
    max_resolution: float = 3.0  # and this one


@dataclass(frozen=True)
class SampleConfig:
    """How a chain becomes a sample (Suppl. Sec. 1.2): crop, recycling, alignment and templates."""

    crop: int = 256  # residues
    max_recycle: int = 3  # recycling passes before the last pass are drawn from 0 to this number
    deleted_blocks: int = 5  # blocks of neighbouring rows that are left out of the alignment
    deleted_share: float = 0.3  # size of each block, as a fraction of the alignment's rows
    templates: int = 4  # the most that a sample is shown
    template_share: float = 1.0  # fraction of samples that may be shown templates
    weakened_share: float = 0.0  # fraction of templates that are cut down or partly misaligned first
    nearly_true_share: float = 0.0  # fraction of those with a first template that is nearly the structure itself
    alignment_share: float = 1.0  # fraction of samples with their alignment, the others have their sequence alone


@dataclass(frozen=True)
class SourceConfig:
    """Where chains are read from, and which of them are taken."""

    kind: str = "chains"  # chains (shards that `foldcli data chains` wrote) or openfold (folders in OpenFold's layout)
    structures: str = ""  # openfold: folder of mmCIF files
    alignments: str = ""  # openfold: folder with a folder of alignments for each chain
    index: str = ""  # openfold: file that `foldcli data index` wrote
    shards: str = ""  # chains: files, separated by colons
    max_date: str = ""  # YYYY-MM-DD: chains released later are left out; empty for no limit
    max_resolution: float = 9.0  # angstrom
    max_share: float = 0.8  # largest fraction of a chain that may be one kind of residue
    exclude: str = ""  # file with the names of chains to leave out
    relatives: str = ""  # file that `foldcli data relatives` wrote: homologs that become templates
    library: str = ""  # the library of known structures that they lie in; empty for the package's
    max_evalue: float = 10.0  # homologs with a larger E-value are left out


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam as AlphaFold has it (Suppl. Sec. 1.11.3); warm-up and decay count samples, not steps."""

    matrices: str = "adam"  # what updates parameters with two axes: adam or muon; the rate means the same for both
    rate: float = 1e-3  # learning rate
    warmup_samples: int = 128_000  # the rate rises to its full value over these
    decay_after_samples: int = 6_400_000  # after these it is multiplied by `decay`
    decay: float = 0.95
    cooldown_steps: int = 0  # over the last steps it falls to zero
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    clip: float = 0.1  # largest norm of the gradient of one micro-batch
    ema: float = 0.999  # decay of the exponential moving average of the parameters, which is what is validated

    def __post_init__(self) -> None:
        require_choices(self, {"matrices": ("adam", "muon")})
        for key in ("beta1", "beta2", "ema"):
            if getattr(self, key) >= 1:
                raise InputError(f"configuration: 'optimizer.{key}' is {getattr(self, key)}, expected less than 1")


@dataclass(frozen=True)
class GuardConfig:
    """When a step is skipped, and when the run ends: the loss or gradient is NaN or infinite, or the loss spikes."""

    spike: float = 10.0  # a loss so many times its running mean is a spike
    give_up: int = 10  # skipped steps in a row that end the run
    bad_entries: float = 0.05  # fraction of chains drawn that may be unreadable


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run's state is written, and how many states are kept besides the best one."""

    every: int = 1000  # steps
    keep: int = 3  # of the latest

    def __post_init__(self) -> None:
        require_smallest(self, {"every": 1, "keep": 1})


@dataclass(frozen=True)
class TrainConfig:
    """What `foldcli train` does; conf/train/ holds the recipes."""

    name: str
    model: ModelConfig
    train: SourceConfig
    validation: SourceConfig | None
    loss: LossConfig = field(default_factory=LossConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    steps: int = 78_000
    max_minutes: float = 0.0  # by the clock, into which the schedule of all steps is fitted; 0 for no limit
    batch_size: int = 128  # samples of one step, over all ranks
    micro_batch: int = 1  # samples that a rank computes at once, and whose gradient is clipped as one
    validate_every: int = 1000  # steps; 0 for never
    validation_chains: int = 200  # how many of the validation set, from its beginning
    seed: int = 0
    workers: int = 8  # processes that make samples, on each rank
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # dtype of the trunk: auto (bf16 on CUDA, fp32 on the CPU), fp32 or bf16
    recompute: bool = True  # activation checkpointing: the backward pass computes each block's activations again
    gpus: int = 1  # ranks on this machine
    dap: int = 1  # ranks that share one sample (Dynamic Axial Parallelism)
    start_from: str = ""  # parameter file to begin with; empty for random initialisation

    SMALLEST: ClassVar[dict[str, int]] = {
        "steps": 1, "batch_size": 1, "micro_batch": 1, "validate_every": 0, "validation_chains": 1, "seed": 0,
        "workers": 0, "max_minutes": 0, "gpus": 1, "dap": 1,
    }  # fmt: skip

    def __post_init__(self) -> None:
        require_choices(self, {"device": DEVICES, "precision": PRECISIONS})
        require_smallest(self, self.SMALLEST)
        require_amounts(self)
        if self.sample.crop < SHORTEST_CROP:
            raise InputError(f"configuration: 'sample.crop' is {self.sample.crop}, expected {SHORTEST_CROP} or more")
        if self.loss.pae and not self.model.heads.pae:
            raise InputError(
                f"configuration: 'loss.pae' is {self.loss.pae:g}, and {self.model.name} has no such head; set it to 0, "
                "or model.heads.pae to true"
            )
        if self.gpus % self.dap:
            raise InputError(f"configuration: 'gpus' is {self.gpus}, which 'dap', {self.dap}, does not divide")
        if self.batch_size % (share := self.micro_batch * (self.gpus // self.dap)):
            raise InputError(
                f"configuration: 'batch_size' is {self.batch_size}, which cannot be split evenly: expected a multiple "
                f"of {share}, micro_batch times the ranks that hold samples of their own"
            )
