"""What `foldcli fold` may be asked for."""

from dataclasses import dataclass
from typing import ClassVar

from foldcli.config.model import ModelConfig
from foldcli.errors import InputError


@dataclass(frozen=True)
class FoldConfig:
    """What `foldcli fold` does (conf/fold.yaml holds the defaults).

    model: the preset of one model, by its own name; rank_by: plddt or ptm; sort: length (shortest first), longest or
    none; device: auto, cpu or cuda; precision: auto, fp32 or bf16; recycle_early_stop_tolerance in angstrom.
    """

    model: ModelConfig
    num_models: int
    num_seeds: int
    random_seed: int
    num_recycle: int
    recycle_early_stop_tolerance: float
    rank_by: str
    sort: str
    device: str
    precision: str
    gpus: int
    save_single_representations: bool
    save_pair_representations: bool
    overwrite: bool

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "rank_by": ("plddt", "ptm"),
        "sort": ("length", "longest", "none"),
        "device": ("auto", "cpu", "cuda"),
        "precision": ("auto", "fp32", "bf16"),
    }
    SMALLEST: ClassVar[dict[str, int]] = {
        "num_models": 1,
        "num_seeds": 1,
        "random_seed": 0,
        "num_recycle": 0,
        "gpus": 1,
    }

    def __post_init__(self) -> None:
        for key, choices in self.CHOICES.items():
            if getattr(self, key) not in choices:
                raise InputError(f"configuration: '{key}' is {getattr(self, key)!r}, expected {' or '.join(choices)}")
        for key, smallest in self.SMALLEST.items():
            if getattr(self, key) < smallest:
                raise InputError(f"configuration: '{key}' is {getattr(self, key)}, expected {smallest} or more")
        if self.gpus > 1:
            raise InputError(f"--gpus {self.gpus}: one prediction over several GPUs is not there yet; use --gpus 1")
