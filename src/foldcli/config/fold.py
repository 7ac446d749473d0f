"""What `foldcli fold` may be asked for."""

import re
from dataclasses import dataclass
from typing import ClassVar

from foldcli.config.build import require_choices, require_smallest
from foldcli.config.model import DEVICES, PRECISIONS, ModelConfig
from foldcli.errors import InputError

UNITS = {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)}
UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)}


@dataclass(frozen=True)
class FoldConfig:
    """What `foldcli fold` does (conf/fold.yaml holds the defaults).

    model: the preset of one model, by its own name; rank_by: plddt or ptm; sort: length (shortest first), longest or
    none; device: auto, cpu or cuda; precision: auto, fp32 or bf16; recycle_early_stop_tolerance in angstrom;
    templates: whether models that take them are shown any, from `library`, the package's where none is named;
    gpus: ranks of this machine, of which dap fold one protein together, 0 for as many as it needs; autochunk: whether
    a job that does not fit whole is computed in slices; memory_budget: what a pass may take, such as 12GiB, beside the
    parameters, and all that is free where it is empty.
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
    templates: bool
    library: str
    gpus: int
    dap: int
    autochunk: bool
    memory_budget: str
    save_single_representations: bool
    save_pair_representations: bool
    overwrite: bool

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "rank_by": ("plddt", "ptm"),
        "sort": ("length", "longest", "none"),
        "device": DEVICES,
        "precision": PRECISIONS,
    }
    SMALLEST: ClassVar[dict[str, int]] = {
        "num_models": 1,
        "num_seeds": 1,
        "random_seed": 0,
        "num_recycle": 0,
        "gpus": 1,
        "dap": 0,
    }

    @property
    def memory_budget_bytes(self) -> int:
        """The budget in bytes, 0 where there is none; InputError if it is no amount of memory."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]i?B)", self.memory_budget)
        if self.memory_budget and not found:
            raise InputError(f"--memory-budget {self.memory_budget}: no amount of memory; give one such as 12GiB")
        return int(float(found[1]) * UNITS[found[2]]) if found else 0

    def __post_init__(self) -> None:
        require_choices(self, self.CHOICES)
        require_smallest(self, self.SMALLEST)
        _ = self.memory_budget_bytes
        if self.gpus > 1 and self.dap and self.gpus % self.dap:
            raise InputError(f"--dap {self.dap}: does not divide --gpus {self.gpus}; take a divisor, or auto")
