"""How long warm calls take, by device events on CUDA."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

# Seconds; a call that takes longer is measured by its first run, which nothing has warmed but the call before it.
LONG = 4.0
REPEATS = 3, 50


@dataclass(frozen=True)
class Times:
    """Seconds of each call."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    @property
    def spread(self) -> float:
        """Half of what lies between the quartiles, as a share of the median."""
        if len(self.each) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.each, n=4, method="inclusive")
        return (high - low) / 2 / self.median


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """One call, from when the device begins until it is done."""
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
    """Several calls, after one that took `first` seconds; that one alone where it took long."""
    if first > LONG:
        return Times((first,))
    least, most = REPEATS
    again = seconds(call, device)
    return Times(tuple(seconds(call, device) for _ in range(max(least, min(most, int(budget / again))))))


def in_turns(calls: Sequence[Callable[[], float]], rounds: int) -> list[Times]:
    """Times of several callers, A B A B, each of which returns its own seconds: what weighs on one weighs on all."""
    turns = [[call() for call in calls] for _ in range(rounds)]
    return [Times(times) for times in zip(*turns, strict=True)]
