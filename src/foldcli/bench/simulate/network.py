"""Devices and networks as a simulation knows them: arithmetic, memory traffic, latency and bandwidth."""

import math
import re
from dataclasses import dataclass

import torch

from foldcli.errors import InputError


@dataclass(frozen=True)
class Device:
    """A GPU by its data sheet: floating-point operations a second in bf16 and in float32, bytes a second, bytes.

    reached: the share of these that a kernel is assumed to get; launch: seconds that any kernel takes at least.
    """

    name: str
    half: float
    single: float
    bandwidth: float
    memory: float
    reached: float = 0.5
    launch: float = 10e-6

    def seconds(self, flops: float, traffic: float, dtype: torch.dtype) -> float:
        """What a kernel takes: as long as its arithmetic or its traffic, whichever is longer (the roofline)."""
        rate = self.half if dtype.itemsize == 2 else self.single
        return max(self.launch, flops / (self.reached * rate), traffic / (self.reached * self.bandwidth))


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
    """What one device has of a network: seconds until a message begins to come, bytes a second each way."""

    latency: float
    bandwidth: float

    def __str__(self) -> str:
        return f"{self.bandwidth / 1e9:g} GB/s after {self.latency * 1e6:g} us"


# Bytes a second of one direction of what a single GPU has, of which messages get about four fifths.
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
    """Hosts of so many devices: `inside` joins those of one host, `between` hosts; each device has a link of its own.

    A group of ranks that lie on several hosts is as slow as what joins these.
    """

    inside: Link
    between: Link
    host: int = 8

    def message(self, peers: int, sent: int, ranks: int) -> float:
        """Seconds of one collective in which a rank of a group sends so many bytes to so many others in turn."""
        path = self.inside if ranks <= self.host else self.between
        return peers * path.latency + sent / path.bandwidth

    def all_reduce(self, nbytes: float, ranks: int, apart: int) -> float:
        """Seconds of summing over ranks that lie `apart` places from each other: a ring's bytes, a tree's latency."""
        if ranks == 1:
            return 0.0
        path = self.inside if ranks * apart <= self.host else self.between
        return 2 * math.ceil(math.log2(ranks)) * path.latency + 2 * nbytes * (ranks - 1) / ranks / path.bandwidth


FREE = Network(Link(0.0, math.inf), Link(0.0, math.inf))
