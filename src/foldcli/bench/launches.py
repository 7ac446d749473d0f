"""What `fold` and `train` launch, as configurations of kernels to compile ahead of time (`make kernels-report`).

Whole models run on CPU tensors with one block in each stack: no kernel runs, so values mean nothing. A launch depends
on whether lengths, numbers of rows and their products are 1 or multiples of 16: sizes of every such class are tried.
Launches inside regions that AutoChunk cuts into chunks, or on several GPUs, are not tried.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch

from foldcli.bench.cases import Cases, Sizes
from foldcli.compose import model_config
from foldcli.data.training.tensors import map_tensors, named_tensors
from foldcli.folding.fused_blocks import fused_copy
from foldcli.ops.kernel_launches import AotConfig, recorded_launches

ONE_BLOCK = ("evoformer.blocks=1", "extra_msa.blocks=1", "template.blocks=1", "structure.layers=1")
# AlphaFold's models of chains differ in depth alone, and so do those of complexes; these have every part.
PRESETS: dict[str, tuple[str, ...]] = {
    "model_1_ptm": ONE_BLOCK,
    "mini": ("evoformer.blocks=1", "structure.layers=1"),
    "model_1_multimer_v3": ONE_BLOCK,
}
# A multiple of 16, a length whose square alone is one, an odd length, a single residue.
LENGTHS = (16, 12, 5, 1)
# Rows of the MSA and of the extra MSA: multiples of 16; multiples of 16 once times 12; neither; a single sequence.
ROWS = ((16, 32), (4, 4), (5, 3), (1, 1))
# Crops of training and samples of a micro-batch.
BATCHES = ((16, 1), (12, 2))


def aot_configs() -> list[AotConfig]:
    """Return each distinct launch of folding and training with the presets, in both precisions."""
    with recorded_launches() as found:
        for dtype, preset in itertools.product((torch.bfloat16, torch.float32), PRESETS):
            cases = one_block_model(preset, dtype)
            for sizes in sizes_of(cases):
                fold(cases, sizes)
            for crop, samples in BATCHES:
                train(cases, crop, samples)
    return found


def one_block_model(preset: str, dtype: torch.dtype) -> Cases:
    """Return a preset's model with one block in each stack, and what makes its inputs."""
    config = model_config(preset, [f"model.{setting}" for setting in PRESETS[preset]])
    return Cases(config, Sizes(1, 1, 1), torch.device("cpu"), dtype)


def sizes_of(cases: Cases) -> Iterator[Sizes]:
    """Return sizes of every class; a model without an extra MSA reads one row of the MSA."""
    rows = ROWS if cases.config.extra_msa.blocks else ROWS[-1:]
    return (Sizes(length, *depths) for length in LENGTHS for depths in rows)


@torch.inference_mode()
def fold(cases: Cases, sizes: Sizes) -> None:
    """Run a first pass, with templates, and a later one without; as a GPU folds whole, and as in chunks or sharded."""
    cases.sizes = sizes
    features = cases.features()
    for model in (cases.model.eval(), *([fused_copy(cases.model)] if cases.dtype.itemsize == 2 else [])):
        model(features, None)
        model(replace(features, templates=None), cases.recycled())


def train(cases: Cases, crop: int, samples: int) -> None:
    """Run one pass of a micro-batch in training mode, and take all gradients."""
    cases.sizes = replace(next(sizes_of(cases)), residues=crop)
    features, recycled = map_tensors(lambda x: torch.stack([x] * samples), (cases.features(), cases.recycled()))
    output = cases.model.train()(features, recycled)
    parts = [x.float().square().sum() for _, x in named_tensors(output) if x.requires_grad]
    torch.autograd.grad(torch.stack(parts).sum(), list(cases.model.parameters()), allow_unused=True)
