"""GPUs by their data sheets and networks by latency and bandwidth."""

import math
import re
from dataclasses import dataclass

import torch

from foldcli.errors import InputError


@dataclass(frozen=True)
class Device:
    """A GPU by its data sheet, or as it was measured.

    half, single: peak FLOP/s in bf16 and in float32; bandwidth: of its memory, bytes/s; memory: bytes;
    reached: fraction of these peaks that a kernel is assumed to reach; launch: least seconds of any kernel;
    attention: FLOP/s of attention, forward and backward, if they were measured.
    """

    name: str
    half: float
    single: float
    bandwidth: float
    memory: float
    reached: float = 0.5
    launch: float = 10e-6
    attention: tuple[float, ...] = ()

    def seconds(self, flops: float, traffic: float, dtype: torch.dtype, rate: float = 0.0) -> float:
        """Seconds of a kernel by the roofline model: the longer of its arithmetic and its memory traffic.

        rate: FLOP/s of this kernel, if they were measured.
        """
        rate = rate or self.reached * (self.half if dtype.itemsize == 2 else self.single)
        return max(self.launch, flops / rate, traffic / (self.reached * self.bandwidth))

    def __str__(self) -> str:
        rates = "measured" if self.attention else "data sheet's"
        text = f"kernels reach {self.reached:.0%} of the {rates} rates and take {self.launch * 1e6:.0f} us at least"
        forward = f"; attention {self.attention[0] / 1e12:.0f} TFLOP/s forward" if self.attention else ""
        return text + forward


DEVICES = {
    device.name: device
    for device in (
        Device("a100", 312e12, 19.5e12, 2.039e12, 80e9),
        Device("h100", 989e12, 67e12, 3.35e12, 80e9),
        Device("h200", 989e12, 67e12, 4.8e12, 141e9),
    )
}


@dataclass(frozen=True)
class Link:
    """One device's connection to a network: latency in seconds, bandwidth in bytes/s in each direction."""

    latency: float
    bandwidth: float

    def __str__(self) -> str:
        return f"{self.bandwidth / 1e9:g} GB/s after {self.latency * 1e6:g} us"


# Of one GPU, one direction; messages reach about 80 % of the nominal bandwidth.
LINKS = {
    "nvlink": Link(3e-6, 0.8 * 300e9),  # the third generation, as in A100; the fourth has 450
    "pcie": Link(6e-6, 0.8 * 32e9),
    "ib": Link(8e-6, 0.8 * 25e9),  # HDR, one adapter for each GPU
    "ib-ndr": Link(8e-6, 0.8 * 50e9),
    "ethernet": Link(30e-6, 0.8 * 12.5e9),
}


def link(text: str, option: str = "--link") -> Link:
    """A link by name, or by bandwidth in GB/s and latency in microseconds such as `25,8`.

    InputError, which names the option: anything else.
    """
    if text in LINKS:
        return LINKS[text]
    number = r"(\d+(?:\.\d+)?|\.\d+)"
    found = re.fullmatch(f"{number},{number}", text)
    if not found or not float(found[1]):
        raise InputError(f"{option} {text}: take {', '.join(LINKS)}, or GB/s,microseconds such as 25,8")
    return Link(float(found[2]) * 1e-6, float(found[1]) * 1e9)


@dataclass(frozen=True)
class Network:
    """Hosts of `host` devices: `inside` links devices of one host, `between` links hosts; no device shares its link.

    A group of ranks on several hosts communicates at the speed of `between`.
    """

    inside: Link
    between: Link
    host: int = 8

    def message(self, peers: int, sent: int, ranks: int) -> float:
        """Seconds of one collective in which each rank of the group sends `sent` bytes in all, to its peers in turn."""
        path = self.inside if ranks <= self.host else self.between
        return peers * path.latency + sent / path.bandwidth

    def all_reduce(self, nbytes: float, ranks: int, apart: int) -> float:
        """Seconds of an all-reduce over ranks `apart` places apart: bandwidth of a ring, latency of a tree."""
        if ranks == 1:
            return 0.0
        path = self.inside if ranks * apart <= self.host else self.between
        return 2 * math.ceil(math.log2(ranks)) * path.latency + 2 * nbytes * (ranks - 1) / ranks / path.bandwidth
