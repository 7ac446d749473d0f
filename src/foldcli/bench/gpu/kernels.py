"""Every kernel by its own name: what it takes on the device, in the calls that launch it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from foldcli.bench.gpu.cases import REAL, TINY, Draw, cases, precision
from foldcli.bench.gpu.checks import failure
from foldcli.bench.gpu.timing import backward, forward

REPEATS = 5
LONGEST_NAME = 60  # of a library's kernel


def kernels(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield each kernel that an operation launches, forward and backward."""
    size = TINY if device.type == "cpu" else REAL
    for name, make in cases(device).items():
        work = make(Draw(device, precision(device)), size).to(precision(device))
        row = {"size": f"r={size.r} s={size.s}"}
        leaves = list(work.leaves.values())
        yield from by_kernel(row | {"by": name}, partial(forward, work.run, "triton"), device)
        yield from by_kernel(row | {"by": f"{name} backward"}, partial(backward, work.run, leaves, "triton"), device)


def by_kernel(
    row: dict[str, Any], prepare: Callable[[], Callable[[], object]], device: torch.device
) -> Iterator[dict[str, Any]]:
    """Yield a row for each kernel of a call, the longest first: milliseconds of all its launches in one call."""
    try:
        found = _profiled(prepare(), device)
    except Exception as error:  # one failing case must not lose the others
        yield {"what": "kernels"} | row | failure(error)
        return
    for name, (ms, launches) in sorted(found.items(), key=lambda item: -item[1][0]):
        yield {"what": name} | row | {"ok": True, "ms": ms, "launches": launches}


def _profiled(call: Callable[[], object], device: torch.device) -> dict[str, tuple[float, float]]:
    """Return milliseconds and launches of each kernel in a warm call; on the CPU, those of torch's operators."""
    cuda = device.type == "cuda"
    repeats = REPEATS if cuda else 1
    call()  # compiles
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as found:
        for _ in range(repeats):
            call()
        if cuda:
            torch.cuda.synchronize(device)
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    totals: dict[str, tuple[float, float]] = {}
    for event in found.key_averages():
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        if event.device_type == kind and spent > 0:
            ms, launches = totals.get(event.key[:LONGEST_NAME], (0.0, 0.0))
            totals[event.key[:LONGEST_NAME]] = ms + spent / 1e3 / repeats, launches + event.count / repeats
    return totals
