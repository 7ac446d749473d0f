"""Median times of warm calls by CUDA events, and replays of a captured CUDA graph."""

import itertools
import statistics
import time
from collections.abc import Callable

import torch

from foldcli import ops


def milliseconds(call: Callable[[], object], device: torch.device, budget: float = 0.25) -> float:
    """Return the median time of a warm call; about `budget` seconds are spent, on 5 calls at least."""
    return statistics.median(warm_times(call, device, budget))


def warm_times(call: Callable[[], object], device: torch.device, budget: float = 0.25, most: int = 100) -> list[float]:
    """Return milliseconds of warm calls on CUDA, as many as `budget` seconds allow, at least 5; of one on the CPU."""
    if device.type != "cuda":
        return [_host(call)]
    first = _events(call, 2)[-1]
    repeats = max(5, min(most, int(budget * 1000 / max(first, 1e-3))))
    _events(call, max(1, repeats // 5))
    return _events(call, repeats)


def _events(call: Callable[[], object], repeats: int) -> list[float]:
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in itertools.pairwise(marks)]


def _host(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def captured(call: Callable[[], object]) -> Callable[[], None]:
    """Capture a call's launches as a CUDA graph and return its replay, which spends no time in Python."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def forward(call: Callable[[], list[torch.Tensor]], backend: str) -> Callable[[], object]:
    """Return a call that computes results alone, on one backend."""

    def run() -> object:
        with torch.no_grad(), ops.backend(backend):
            return call()

    return run


def backward(call: Callable[[], list[torch.Tensor]], leaves: list[torch.Tensor], backend: str) -> Callable[[], object]:
    """Run forward once and return a call that computes all gradients of it."""
    with ops.backend(backend):
        results = call()
    grads = [torch.randn_like(y) for y in results]

    def run() -> object:
        with ops.backend(backend):
            return torch.autograd.grad(results, leaves, grads, retain_graph=True)

    return run


def both(call: Callable[[], list[torch.Tensor]], leaves: list[torch.Tensor], backend: str) -> Callable[[], object]:
    """Return a call that computes results and all gradients."""
    with torch.no_grad(), ops.backend(backend):
        grads = [torch.randn_like(y) for y in call()]

    def run() -> object:
        with ops.backend(backend):
            return torch.autograd.grad(call(), leaves, grads)

    return run
