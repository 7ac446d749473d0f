"""How long calls take on this machine: a short calibration, kept in the cache folder."""

import contextlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from foldcli.autochunk.allocation import Footprint
from foldcli.errors import FoldcliError
from foldcli.files import write_atomic

SIDE, ROWS, REPEATS = 768, 1 << 22, 5


@dataclass(frozen=True)
class Machine:
    """Floating-point operations and bytes a second that large calls reach, and seconds that any call takes at least."""

    rate: float
    bandwidth: float
    overhead: float

    def seconds(self, footprint: Footprint) -> float:
        """What some calls take: none of them faster than its arithmetic, its traffic and its start allow."""
        return footprint.flops / self.rate + footprint.traffic / self.bandwidth + footprint.calls * self.overhead


def machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """The machine as it was measured before, or now if never."""
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    model = platform.processor() or platform.machine()
    if device.type == "cuda":
        model = torch.cuda.get_device_name(device)
    key = f"{model} {str(dtype).removeprefix('torch.')} {threads} threads torch {torch.__version__}"
    path = cache_folder() / "machine.json"
    try:
        known = json.loads(path.read_text())
        return Machine(**known[key])
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    found = calibrate(device, dtype)
    with contextlib.suppress(OSError, FoldcliError):  # a cache that cannot be written costs the next run half a second
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({**known, key: asdict(found)}, indent=1))
    return found


def cache_folder() -> Path:
    """Where measurements are kept: autochunk in $FOLDCLI_HOME, else in foldcli in the user's cache folder."""
    shared = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("FOLDCLI_HOME") or shared / "foldcli").expanduser() / "autochunk"


def calibrate(device: torch.device, dtype: torch.dtype) -> Machine:
    """Time a matrix product, a sum of large tensors and one of small ones; about half a second."""
    a, b = (torch.randn(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    large, small = torch.zeros(ROWS, device=device, dtype=dtype), torch.zeros(8, device=device, dtype=dtype)
    product = _seconds(lambda: a @ b, device)
    total = _seconds(lambda: large + 1, device)
    start = _seconds(lambda: [small + 1 for _ in range(100)], device) / 100
    return Machine(2 * SIDE**3 / product, 2 * large.numel() * large.element_size() / total, start)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
