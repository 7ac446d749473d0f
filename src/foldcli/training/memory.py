"""Whether a training step fits into the memory of this machine, before it is tried."""

from bisect import bisect_right

import torch

from foldcli.byte_units import amount
from foldcli.config import ModelConfig, TrainConfig
from foldcli.errors import InputError
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.mesh import RankMesh
from foldcli.parallel.worker import ranks_per_host
from foldcli.system_memory import available_bytes

# Copies of the parameters: themselves, their average, Adam's two and the sum of gradients; and while a micro-batch's
# gradients are gathered, these and what they are gathered into. Muon keeps one of its own and the places of matrices in
# stacks, which are twice as large, and needs more in a step: these stacks and the updates.
COPIES = {"adam": 7, "muon": 9}
# What a block keeps for its backward pass, in tensors of its representations' size: measured in steps of the tiny
# model of crops 64 and 160 on the CPU, without activation checkpointing and with it.
KEPT = 41
ADVICE = "lower sample.crop or micro_batch, or take recompute=true or more ranks by dap"


def require_memory(config: TrainConfig, model: AlphaFold, device: torch.device, mesh: RankMesh) -> None:
    """InputError if a step needs more memory than is free on the CPU, where the system kills a process that takes it.

    On CUDA the allocator's own error says so in time.
    """
    free = available_bytes(device) if device.type == "cpu" else None
    if free is None:
        return
    ranks = ranks_per_host() if mesh.world.size > 1 else 1
    copies = ranks * COPIES[config.optimizer.matrices] * sum(p.nbytes for p in model.parameters())

    def needed(crop: int) -> int:
        return copies + ranks * kept_bytes(config, crop) // mesh.axial.size

    crop = config.sample.crop
    if needed(crop) > free:
        fits = bisect_right(range(1, crop), free, key=needed)
        raise InputError(
            f"sample.crop={crop}: a step needs about {amount(needed(crop))} and {amount(free)} are free; "
            f"a crop of {fits} would fit; {ADVICE}"
        )


def kept_bytes(config: TrainConfig, crop: int) -> int:
    """About how many bytes a micro-batch of this crop keeps for its backward pass.

    With activation checkpointing each block keeps its input, and one, computed again, all that it needs.
    """
    sizes = _block_sizes(config, config.model, crop)
    each = sum(blocks * size for blocks, size in sizes)
    numbers = each + KEPT * max(size for _, size in sizes) if config.recompute else KEPT * each
    return 4 * config.micro_batch * numbers


def _block_sizes(config: TrainConfig, model: ModelConfig, crop: int) -> list[tuple[int, int]]:
    """(blocks, numbers in their representations) of each stack, for one sample."""
    pairs = crop * crop
    # shards of chains give one row, with the profile of all others
    rows, extra = (1, 1) if config.train.kind == "chains" else (model.msa.max_clusters, model.msa.max_extra)
    sizes = [
        (model.evoformer.blocks, pairs * model.c_z + rows * crop * model.evoformer.c_m),
        (model.extra_msa.blocks, pairs * model.c_z + extra * crop * model.extra_msa.c_m),
    ]
    if model.template:
        sizes.append((model.template.blocks, config.sample.templates * pairs * model.template.c_t))
    return sizes
