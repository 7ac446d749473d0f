"""`python -m foldcli.folding.compile_kernels`: compiles what a run will launch; `kernels_ahead` starts it.

It reads a request as JSON, and runs the models on meta tensors, whose launches depend on sizes as those of a GPU do.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from foldcli.config import ModelConfig
from foldcli.config.build import build
from foldcli.folding.chunking import blank_inputs
from foldcli.folding.fused_blocks import fused_copy
from foldcli.folding.models import meta_model
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import Features, Recycled, TemplateFeatures
from foldcli.ops.kernel_compilation import compile_launches

DEPTH = 2  # blocks of each kind, which launch all that more of them would
T = TypeVar("T", Features, Recycled, TemplateFeatures)


def main() -> None:
    request = json.load(sys.stdin)
    precision = getattr(torch, request["precision"])
    torch.set_num_threads(1)  # forked processes have no others
    works: list[Callable[[], None]] = []
    for described in request["models"]:
        plain = meta_model(shallow(build(ModelConfig, described)), precision)
        for form in request["forms"]:
            model = fused_copy(plain) if form == "fused" else plain
            works += [partial(work, model, precision, request["cyclic"], size) for size in request["sizes"]]
    compile_launches(request["gpu"], tuple(request["capability"]), len(os.sched_getaffinity(0)), *works)
    for marker in request["markers"]:
        Path(marker).touch()


def shallow(config: ModelConfig) -> ModelConfig:
    """The same model with at most DEPTH blocks of each kind."""
    return replace(
        config,
        evoformer=replace(config.evoformer, blocks=min(DEPTH, config.evoformer.blocks)),
        extra_msa=replace(config.extra_msa, blocks=min(DEPTH, config.extra_msa.blocks)),
        structure=replace(config.structure, layers=min(DEPTH, config.structure.layers)),
    )


@torch.inference_mode()
def work(model: AlphaFold, precision: torch.dtype, cyclic: bool, size: tuple[int, int, int]) -> None:
    """Run a first and a later pass on meta tensors; size: residues, rows of the alignment, templates."""
    length, depth, templates = size
    given, recycled = blank_inputs(model.config, length, depth, torch.device("cpu"), precision, templates, cyclic)
    features = _on_meta(given)
    model(features, None)
    model(features, _on_meta(recycled))


def _on_meta(values: T) -> T:
    """The same with every tensor on the device meta."""
    made: dict[str, Any] = {f.name: getattr(values, f.name) for f in fields(values)}
    for name, value in made.items():
        if isinstance(value, torch.Tensor):
            made[name] = torch.empty(value.shape, dtype=value.dtype, device="meta")
        elif value is not None:
            made[name] = _on_meta(value)
    return replace(values, **made)


if __name__ == "__main__":
    main()
