"""Cost model: how long calls take on this device, from a short calibration kept in the cache folder."""

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from foldcli.autochunk.footprint import Footprint
from foldcli.autochunk.host_memory import park, put
from foldcli.cache_folder import cache_folder
from foldcli.devices import cpu_threads, device_name
from foldcli.errors import FoldcliError
from foldcli.files import write_atomic

# Calibration: square matrices in a batch, rows of thin matrices, attention heads, repeats.
BATCH, THIN, HEADS, REPEATS = 16, 8, 32, 7
# Side of the matrices. On CUDA a product of the CPU's size takes as long as waiting for it does, and a batch of them
# stays in the L2 cache; larger ones are taken, within 1/16 of the free memory, and several launched for each wait.
SIDE, CUDA_SIDE, CUDA_LAUNCHES = 1024, 8192, 8


@dataclass(frozen=True)
class DeviceRates:
    """Speed of a device.

    rate: floating-point operations of matrix products, per second; feed: bytes of their operands and results, which
    libraries repack, per second; bandwidth: bytes that any call reads or writes, per second; logit: seconds that each
    logit of attention takes on top of its products; overhead: seconds that every call takes; link: bytes that come
    from host memory, per second.
    """

    rate: float
    feed: float
    bandwidth: float
    logit: float
    overhead: float
    link: float = math.inf

    def seconds(self, work: Footprint) -> float:
        """Estimated time of a footprint: the sum of its terms, none of which overlap."""
        arithmetic = work.flops / self.rate + work.logits * self.logit
        moved = work.products / self.feed + work.traffic / self.bandwidth + work.fetched / self.link
        return arithmetic + moved + work.calls * self.overhead


def device_rates(device: torch.device, dtype: torch.dtype) -> DeviceRates:
    """The rates of this device for a dtype: from the cache folder, else calibrated now."""
    kind = str(dtype).removeprefix("torch.")
    sizes = f" products to {CUDA_SIDE} link" if device.type == "cuda" else ""
    key = f"{device_name(device)} {kind} {cpu_threads(device)} threads torch {torch.__version__}{sizes}"
    path = cache_folder() / "autochunk" / "machine.json"
    try:
        known = json.loads(path.read_text())
        return DeviceRates(**known[key])
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    found = calibrate(device, dtype)
    with contextlib.suppress(OSError, FoldcliError):  # a cache that cannot be written costs the next run half a second
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({**known, key: asdict(found)}, indent=1))
    return found


def calibrate(device: torch.device, dtype: torch.dtype) -> DeviceRates:
    """Measure the rates, within a second: large and thin products, attention, and large and small additions."""

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    side = _side(device, dtype)
    matrices, rows, heads = some(BATCH, side, side), some(BATCH, THIN, side), some(1, HEADS, side // 2, 32)
    small, other = some(8), torch.empty_like(matrices)  # reused, since first touching fresh pages is slower than memory
    parked = park(matrices[0])
    start = _seconds(lambda: [small + 1 for _ in range(100)], device) / 100
    rate = 2 * side**3 / _seconds(lambda: matrices[0] @ matrices[1], device)
    bandwidth = 2 * matrices.nbytes / _seconds(lambda: torch.add(matrices, 1, out=other), device)
    thin = _seconds(lambda: rows @ matrices, device) - 2 * rows.numel() * side / rate - matrices.nbytes / bandwidth
    attention = _seconds(lambda: scaled_dot_product_attention(heads, heads, heads), device)
    logits = HEADS * heads.shape[-2] ** 2
    logit = attention / logits - 4 * heads.shape[-1] / rate
    fetching = _seconds(lambda: put(parked, matrices[0]), device)
    link = matrices[0].nbytes / fetching if device.type == "cuda" else math.inf
    return DeviceRates(rate, matrices.nbytes / max(thin, start), bandwidth, max(logit, 0.0), start, link)


def _side(device: torch.device, dtype: torch.dtype) -> int:
    """The side of the matrices that the calibration multiplies."""
    if device.type != "cuda":
        return SIDE
    side, room = CUDA_SIDE, torch.cuda.mem_get_info(device)[0] / 16
    while side > SIDE and BATCH * side**2 * dtype.itemsize > room:
        side //= 2
    return side


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The shortest time of several warm calls."""
    launches = CUDA_LAUNCHES if device.type == "cuda" else 1
    work()
    times = []
    for _ in range(REPEATS):
        _wait(device)
        start = time.perf_counter()
        for _ in range(launches):
            work()
        _wait(device)
        times.append((time.perf_counter() - start) / launches)
    return min(times)  # other processes slow some of them


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
