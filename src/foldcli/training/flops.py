"""How much arithmetic a step of training takes, counted on tensors without memory."""

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
    """Floating point operations of the matrix products of one forward pass over features of these shapes."""
    with torch.device("meta"):
        model = AlphaFold(config).eval()
    plain = sdpa_kernel(SDPBackend.MATH)  # the fused ones are opaque to the counter
    with FlopCounterMode(display=False) as counter, torch.no_grad(), ops.backend("reference"), plain:
        model(map_tensors(lambda tensor: tensor.to("meta"), features))
    return counter.get_total_flops()


def training_passes(sample: Sample) -> int:
    """Learning from a sample, in forward passes: the recycling ones, the last, and a backward of twice that.

    What activation checkpointing computes again is not counted: it is no part of the model.
    """
    return len(sample.passes) + 2


def peak_flops(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """Floating point operations a second of a large matrix product here, the best of some."""
    size = 8192 if device.type == "cuda" else size
    a = torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)
