"""Cost model: how long calls take on this device, from a short calibration kept in the cache folder."""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from foldcli.autochunk.footprint import Footprint
from foldcli.cache_folder import cache_folder
from foldcli.devices import cpu_threads, device_name
from foldcli.errors import FoldcliError
from foldcli.files import write_atomic

# Calibration: side of square matrices, numbers in the large addition, rows of thin matrices, attention heads, repeats.
SIDE, ENTRIES, THIN, HEADS, REPEATS = 1024, 1 << 24, 8, 32, 7


@dataclass(frozen=True)
class DeviceRates:
    """Speed of a device.

    rate: floating-point operations of matrix products, per second; feed: bytes of their operands and results, which
    libraries repack, per second; bandwidth: bytes that any call reads or writes, per second; logit: seconds that each
    logit of attention takes on top of its products; overhead: seconds that every call takes.
    """

    rate: float
    feed: float
    bandwidth: float
    logit: float
    overhead: float

    def seconds(self, work: Footprint) -> float:
        """Estimated time of a footprint: the sum of its terms, none of which overlap."""
        arithmetic = work.flops / self.rate + work.logits * self.logit
        return arithmetic + work.products / self.feed + work.traffic / self.bandwidth + work.calls * self.overhead


def device_rates(device: torch.device, dtype: torch.dtype) -> DeviceRates:
    """The rates of this device for a dtype: from the cache folder, else calibrated now."""
    kind = str(dtype).removeprefix("torch.")
    key = f"{device_name(device)} {kind} {cpu_threads(device)} threads torch {torch.__version__}"
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

    matrices, rows, heads = some(16, SIDE, SIDE), some(16, THIN, SIDE), some(1, HEADS, SIDE // 2, 32)
    large, small = some(ENTRIES), some(8)
    other = torch.empty_like(large)  # reused, since first touching fresh pages is slower than memory
    start = _seconds(lambda: [small + 1 for _ in range(100)], device) / 100
    rate = 2 * SIDE**3 / _seconds(lambda: matrices[0] @ matrices[1], device)
    bandwidth = 2 * large.nbytes / _seconds(lambda: torch.add(large, 1, out=other), device)
    thin = _seconds(lambda: rows @ matrices, device) - 2 * rows.numel() * SIDE / rate - matrices.nbytes / bandwidth
    attention = _seconds(lambda: scaled_dot_product_attention(heads, heads, heads), device)
    logits = HEADS * heads.shape[-2] ** 2
    logit = attention / logits - 4 * heads.shape[-1] / rate
    return DeviceRates(rate, matrices.nbytes / max(thin, start), bandwidth, max(logit, 0.0), start)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The shortest time of several warm calls."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)  # other processes slow some of them
