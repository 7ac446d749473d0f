"""What `foldcli train` may be asked for; the defaults are AlphaFold's initial training (Suppl. Sec. 1.11, Table 4)."""

from dataclasses import dataclass, field
from typing import ClassVar

from foldcli.config.build import require_choices, require_smallest
from foldcli.config.model import DEVICES, PRECISIONS, ModelConfig
from foldcli.errors import InputError


@dataclass(frozen=True)
class LossConfig:
    """Weight of each term of the loss (Suppl. Sec. 1.9, Eq. 7), and how the backbone's FAPE is clamped.

    backbone_fape is averaged over the structure module's layers, as published, or that of the last one where
    every_layer is off; clamp is the share of samples whose backbone FAPE is clamped. smooth_lddt is AlphaFold 3's
    loss, of CA atoms. Confidence is learnt from chains with a resolution between min_resolution and max_resolution,
    in angstrom.
    """

    backbone_fape: float = 0.5
    side_chain_fape: float = 0.5
    smooth_lddt: float = 0.0
    chi: float = 0.5
    angle_norm: float = 0.01
    distogram: float = 0.3
    masked_msa: float = 2.0
    lddt: float = 0.01
    resolved: float = 0.0
    pae: float = 0.0
    violations: float = 0.0
    every_layer: bool = True
    clamp: float = 0.9
    min_resolution: float = 0.1
    max_resolution: float = 3.0


@dataclass(frozen=True)
class SampleConfig:
    """How a chain becomes a sample (Suppl. Sec. 1.2): the crop, the alignment's rows, templates, recycling.

    crop: residues; max_recycle: passes before the last one, drawn from 0 up; deleted_blocks of the alignment, each a
    share deleted_share of its rows, are left out; templates: the most that are shown, and template_share of samples
    are shown some; weakened_share of the templates are cut down or partly misaligned first; alignment_share of samples
    see their alignment, the others their sequence alone.
    """

    crop: int = 256
    max_recycle: int = 3
    deleted_blocks: int = 5
    deleted_share: float = 0.3
    templates: int = 4
    template_share: float = 1.0
    weakened_share: float = 0.0
    alignment_share: float = 1.0


@dataclass(frozen=True)
class SourceConfig:
    """Where chains come from: a folder in OpenFold's layout, or chain shards; and which of them are taken.

    kind: openfold or chains. openfold: `structures` is a folder of mmCIF files, `alignments` one of folders by chain,
    `index` what `foldcli data index` wrote. chains: `shards` are files, separated by colons.
    max_date: the latest release, 2018-04-30; max_resolution in angstrom; max_share: the largest share of one kind of
    residue; exclude: a file with the names of chains to leave out.
    relatives: what `foldcli data relatives` wrote, up to max_evalue, become templates out of `library`, the package's
    where none is named.
    """

    kind: str = "chains"
    structures: str = ""
    alignments: str = ""
    index: str = ""
    shards: str = ""
    max_date: str = ""
    max_resolution: float = 9.0
    max_share: float = 0.8
    exclude: str = ""
    relatives: str = ""
    library: str = ""
    max_evalue: float = 10.0


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam as AlphaFold has it (Suppl. Sec. 1.11.3): warm-up and decay count samples, not steps.

    matrices: what steps weights with two axes, adam or muon, whose steps are as large at the same rate.
    clip: largest norm of one micro-batch's gradient; ema: the decay of the averaged parameters, which are those
    evaluated; cooldown_steps: the last steps, over which the rate falls to zero.
    """

    matrices: str = "adam"
    rate: float = 1e-3
    warmup_samples: int = 128_000
    decay_after_samples: int = 6_400_000
    decay: float = 0.95
    cooldown_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    clip: float = 0.1
    ema: float = 0.999

    def __post_init__(self) -> None:
        require_choices(self, {"matrices": ("adam", "muon")})


@dataclass(frozen=True)
class GuardConfig:
    """When a step is not taken: a loss or gradient that is no number, or a loss `spike` times the running mean.

    give_up: so many such steps in a row end the run; bad_entries: so large a share of unreadable chains does.
    """

    spike: float = 10.0
    give_up: int = 10
    bad_entries: float = 0.05


@dataclass(frozen=True)
class CheckpointConfig:
    """How often the run's state is written, in steps, and how many of the latest are kept, the best one apart."""

    every: int = 1000
    keep: int = 3


@dataclass(frozen=True)
class TrainConfig:
    """What `foldcli train` does (conf/train/ holds the recipes).

    batch_size: samples a step, over all ranks; micro_batch: samples that go through the model at once on a rank, and
    whose gradient is clipped as one; validate_every: steps, 0 for never; validation_chains: how many, the first ones;
    recompute: blocks compute their insides again in the backward pass; dap: GPUs that share one sample; start_from: a
    parameter file to begin with.
    """

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
    batch_size: int = 128
    micro_batch: int = 1
    validate_every: int = 1000
    validation_chains: int = 200
    seed: int = 0
    workers: int = 8
    device: str = "auto"
    precision: str = "auto"
    recompute: bool = True
    gpus: int = 1
    dap: int = 1
    start_from: str = ""

    SMALLEST: ClassVar[dict[str, int]] = {
        "steps": 1, "batch_size": 1, "micro_batch": 1, "validate_every": 0, "validation_chains": 1, "seed": 0,
        "workers": 0, "gpus": 1, "dap": 1,
    }  # fmt: skip

    def __post_init__(self) -> None:
        require_choices(self, {"device": DEVICES, "precision": PRECISIONS})
        require_smallest(self, self.SMALLEST)
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
