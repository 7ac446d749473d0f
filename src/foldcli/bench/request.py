"""What a benchmark of a model is asked to measure, on which device and in which precision."""

from dataclasses import dataclass

import torch

from foldcli.compose import model_config
from foldcli.config import ModelConfig
from foldcli.config.model import DEVICES, PRECISIONS
from foldcli.devices import choose_device, choose_precision
from foldcli.errors import InputError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Request:
    """What to measure; saved with the results, so that it can be repeated.

    lengths: residues; depth, extra: sequences in the MSA and the extra MSA; modules: names, empty for all; blocks: of
    the Evoformer, None for the preset's; limit: seconds for each length on the CPU; overrides: KEY=VALUE of the model.
    """

    lengths: tuple[int, ...]
    depth: int
    extra: int
    model: str
    modules: tuple[str, ...]
    blocks: int | None
    backward: bool
    device: str
    dtype: str
    limit: float
    overrides: tuple[str, ...]

    def config(self) -> ModelConfig:
        """The model's configuration; InputError: an unknown preset or setting."""
        blocks = [] if self.blocks is None else [f"model.evoformer.blocks={self.blocks}"]
        return model_config(self.model, [*blocks, *self.overrides])


def device_and_dtype(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Device and precision; auto is the choice of `foldcli fold`. InputError: an unknown or absent device or type."""
    if device not in DEVICES:
        raise InputError(f"--device {device}: expected one of {', '.join(DEVICES)}")
    if dtype not in PRECISIONS:
        raise InputError(f"--dtype {dtype}: expected one of {', '.join(PRECISIONS)}")
    found = choose_device(device)
    return found, choose_precision(dtype, found)
