"""A GPU as `make gpu-report` measured it: its ceilings, its attention, and what other kernels reach of the ceilings.

The last is chosen so that the largest Evoformer block of the file takes as long as it took.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from foldcli.bench.gpu.compare import load
from foldcli.bench.simulate.network import Device
from foldcli.bench.simulate.roofline import roofline_schedule
from foldcli.config import StackConfig
from foldcli.errors import InputError
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.msa import MsaColumnAttention
from foldcli.parallel.mesh import RankGroup

CEILINGS = ("matrix product", "tflops"), ("copy", "tbs")
ATTENTION = tuple(("triangle attention", f"triangle attention {way}") for way in ("forward", "backward"))
BLOCK = "Evoformer block", "Evoformer block forward"
C_Z = 128
STEPS = 20  # of the bisection
# The least seconds of a kernel inside a CUDA graph, as short stacks run.
LAUNCH = 3e-6


def measured_device(path: Path) -> Device:
    """The GPU of a report's file; InputError: it lacks a row that is needed."""
    report = load(path)
    try:
        product, copy = (1e12 * _figure(report, "ceilings", *of) for of in CEILINGS)
        attention = tuple(1e12 * _figure(report, *of, "tflops") for of in ATTENTION)
        block = _largest(report, *BLOCK)
    except LookupError as lack:
        raise InputError(f"--device {path}: it lacks {lack.args[0]}; run `make gpu-report` until it is there") from None
    about = report["about"]
    # Float32 products run in TF32, at half the rate.
    device = Device(
        about["device"], product, product / 2, copy, about["memory_bytes"], launch=LAUNCH, attention=attention
    )
    return _fitted(device, block)


def _largest(report: dict[str, Any], part: str, what: str) -> dict[str, Any]:
    """The last, and so the largest, of a part's rows of that name; LookupError: there is none."""
    rows = report["parts"].get(part, {}).get("rows", [])
    found = [row for row in rows if row.get("what") == what and row.get("ok")]
    if not found:
        raise LookupError(f"'{what}' in the part '{part}'")
    return found[-1]


def _figure(report: dict[str, Any], part: str, what: str, key: str) -> float:
    return float(_largest(report, part, what)[key])


def _fitted(device: Device, row: dict[str, Any]) -> Device:
    """The device, with the share of its ceilings at which a block takes what a row says."""
    sizes = dict(part.split("=") for part in row["size"].split())
    kernels = block_kernels(device, int(sizes["r"]), int(sizes["s"]))
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        device = replace(device, reached=(low + high) / 2)
        slower = sum(device.seconds(*kernel) for kernel in kernels) > row["ms"] / 1e3
        low, high = (device.reached, high) if slower else (low, device.reached)
    return device


@dataclass(frozen=True)
class _Listed(Device):
    """Lists what kernels are asked to do."""

    kernels: list[tuple[Any, ...]] = field(default_factory=list)

    def seconds(self, *kernel: Any) -> float:
        self.kernels.append(kernel)
        return 0.0


def block_kernels(device: Device, residues: int, depth: int) -> list[tuple[Any, ...]]:
    """Arguments of `Device.seconds` for each kernel of an Evoformer block in bf16."""
    config, listed = StackConfig(), _Listed(**vars(device))
    shapes = (depth, residues, config.c_m), (residues, residues, C_Z), (depth, residues), (residues, residues)
    with torch.device("meta"):
        block = EvoformerBlock(config, C_Z, MsaColumnAttention(config.c_m, config.msa_heads)).eval().bfloat16()
        inputs = [torch.ones(shape, dtype=torch.bfloat16) for shape in shapes]
    with torch.no_grad():
        roofline_schedule(lambda: block(*inputs), RankGroup(), listed)
    return listed.kernels
