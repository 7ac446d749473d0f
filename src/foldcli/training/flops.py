"""FLOPs of a training step, counted on meta tensors, and the peak FLOP/s to compare with (MFU)."""

import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foldcli import ops
from foldcli.config import ModelConfig
from foldcli.data.training.sample import Sample
from foldcli.data.training.tensors import map_tensors
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import Features


def pass_flops(config: ModelConfig, features: Features) -> float:
    """FLOPs of the matrix products of one forward pass over features of these shapes."""
    with torch.device("meta"):
        model = AlphaFold(config).eval()
    plain = sdpa_kernel(SDPBackend.MATH)  # the counter cannot see into fused attention
    with FlopCounterMode(display=False) as counter, torch.no_grad(), ops.backend("reference"), plain:
        model(map_tensors(lambda tensor: tensor.to("meta"), features))
    return counter.get_total_flops()


def training_passes(sample: Sample) -> int:
    """Cost of learning from a sample in forward passes: its recycling passes, the last one, and two for its backward.

    What activation checkpointing recomputes is not counted, as is usual for MFU.
    """
    return len(sample.passes) + 2


def peak_flops(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """FLOP/s of a large matrix product on this device, the best of five.

    Of random numbers: a GPU at its power limit multiplies equal ones faster than any that a model meets.
    """
    size = 8192 if device.type == "cuda" else size
    a = torch.randn(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)
