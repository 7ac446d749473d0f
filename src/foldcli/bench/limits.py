"""The roofline of this device: FLOP/s of a large matrix product and bandwidth of a large copy, measured in each run."""

from dataclasses import dataclass

import torch

from foldcli.bench.timing import seconds
from foldcli.bench.work import Work
from foldcli.training.flops import peak_flops

SIDE = 2048  # of the square matrices that are multiplied
# Bytes that are copied, by device.
COPIED = {"cpu": 1 << 28, "cuda": 1 << 31}


@dataclass(frozen=True)
class Limits:
    """product: FLOP/s of a large matrix product; copy: bytes/s read and written by a large copy."""

    product: float
    copy: float

    def least_seconds(self, work: Work) -> float:
        """Seconds by the roofline model: the longer of the arithmetic and the compulsory traffic."""
        return max(work.flops / self.product, work.moved / self.copy)

    def best(self, other: "Limits") -> "Limits":
        """The higher of both measurements, as other load on the machine only lowers them."""
        return Limits(max(self.product, other.product), max(self.copy, other.copy))


def limits_of(device: torch.device, dtype: torch.dtype) -> Limits:
    """Measure a matrix product and a copy; the best of several runs counts."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copying = min(seconds(lambda: target.copy_(source), device) for _ in range(5))
    return Limits(peak_flops(device, dtype, SIDE), 2 * source.numel() / copying)
