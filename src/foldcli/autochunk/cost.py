"""How long calls take on this machine: a short calibration, kept in the cache folder."""

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

SIDE, ENTRIES, THIN, HEADS, REPEATS = 1024, 1 << 24, 8, 32, 7


@dataclass(frozen=True)
class DeviceRates:
    """How fast large calls are, and how slow small ones.

    rate: floating-point operations a second; bandwidth: bytes a second; feed: the same of a product's operands, which
    are put in order on top; logit: seconds that each logit of attention takes beside its products; overhead: seconds
    that any call takes.
    """

    rate: float
    feed: float
    bandwidth: float
    logit: float
    overhead: float

    def seconds(self, work: Footprint) -> float:
        """What some calls take: the sum of what each of these asks for."""
        arithmetic = work.flops / self.rate + work.logits * self.logit
        return arithmetic + work.products / self.feed + work.traffic / self.bandwidth + work.calls * self.overhead


def device_rates(device: torch.device, dtype: torch.dtype) -> DeviceRates:
    """The machine as it was measured before, or now if never."""
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
    """Time products of large and of thin matrices, attention, and sums of large and of small tensors; a second."""

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    matrices, rows, heads = some(16, SIDE, SIDE), some(16, THIN, SIDE), some(1, HEADS, SIDE // 2, 32)
    large, small = some(ENTRIES), some(8)
    other = torch.empty_like(large)  # written again and again: fresh pages cost the system's time, not the memory's
    start = _seconds(lambda: [small + 1 for _ in range(100)], device) / 100
    rate = 2 * SIDE**3 / _seconds(lambda: matrices[0] @ matrices[1], device)
    bandwidth = 2 * large.nbytes / _seconds(lambda: torch.add(large, 1, out=other), device)
    thin = _seconds(lambda: rows @ matrices, device) - 2 * rows.numel() * SIDE / rate - matrices.nbytes / bandwidth
    attention = _seconds(lambda: scaled_dot_product_attention(heads, heads, heads), device)
    logits = HEADS * heads.shape[-2] ** 2
    logit = attention / logits - 4 * heads.shape[-1] / rate
    return DeviceRates(rate, matrices.nbytes / max(thin, start), bandwidth, max(logit, 0.0), start)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)  # other work on the machine slows some of them
