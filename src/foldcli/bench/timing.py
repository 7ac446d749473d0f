"""Times of warm calls, by device events on CUDA."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

LONG = 4.0  # seconds; a longer call is measured by its first run alone
REPEATS = 3, 50  # least and most


@dataclass(frozen=True)
class Times:
    """Seconds of each of several calls."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    @property
    def spread(self) -> float:
        """Half the interquartile range, as a fraction of the median."""
        if len(self.each) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.each, n=4, method="inclusive")
        return (high - low) / 2 / self.median


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until the device has finished it."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    call()
    after.record()
    torch.cuda.synchronize(device)
    return before.elapsed_time(after) / 1e3


def warm_times(call: Callable[[], object], device: torch.device, first: float, budget: float = 1.0) -> Times:
    """Times of several calls after a first one of `first` seconds; of calls longer than `LONG` one alone counts.

    That is the first one, except on CUDA, where it compiles kernels.

    budget: seconds to spend on repeats, as far as `REPEATS` allows.
    """
    if first > LONG and device.type == "cpu":
        return Times((first,))
    least, most = REPEATS
    warm = seconds(call, device)
    if warm > LONG:
        return Times((warm,))
    return Times(tuple(seconds(call, device) for _ in range(max(least, min(most, int(budget / warm))))))


def in_turns(calls: Sequence[Callable[[], float]], rounds: int) -> list[Times]:
    """Times of several calls in turns, A B A B, so that other load on the machine affects all alike.

    Each call returns its own seconds.
    """
    turns = [[call() for call in calls] for _ in range(rounds)]
    return [Times(times) for times in zip(*turns, strict=True)]
