"""`python -m foldcli.folding.compile_kernels`: compiles what a run will launch; `kernels_ahead` starts it.

It reads a request as JSON, and runs the models on meta tensors, whose launches depend on sizes as those of a GPU do.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from foldcli.config import ModelConfig
from foldcli.config.build import build
from foldcli.folding.chunking import blank_inputs
from foldcli.folding.fused_blocks import fused_copy
from foldcli.folding.models import meta_model
from foldcli.model.alphafold import FoldingModel
from foldcli.model.features import map_tensors
from foldcli.ops.kernel_compilation import compile_launches

DEPTH = 2  # blocks of each kind, which launch all that more of them would


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
def work(model: FoldingModel, precision: torch.dtype, cyclic: bool, size: tuple[int, int, int]) -> None:
    """Run a first and a later pass on meta tensors; size: residues, rows of the alignment, templates."""
    length, depth, templates = size
    given, recycled = blank_inputs(model.config, length, depth, torch.device("cpu"), precision, templates, cyclic)
    features = map_tensors(given, _on_meta)
    model(features, None)
    model(features, map_tensors(recycled, _on_meta))


def _on_meta(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="meta")


if __name__ == "__main__":
    main()
