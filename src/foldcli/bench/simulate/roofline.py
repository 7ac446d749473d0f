"""Estimate a rank's schedule for a GPU's data sheet by the roofline model, on meta tensors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.fx.experimental._config as symbolic
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from foldcli import ops
from foldcli.autochunk.footprint import MemoryTracker, traffic_bytes
from foldcli.bench.simulate.network import Device
from foldcli.bench.simulate.record import ScheduleRecorder
from foldcli.bench.simulate.schedule import Schedule
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Tensor

# FLOPs of a fused kernel's backward pass per FLOP of its forward pass: every product has two gradients, and the kernel
# recomputes what it did not save.
BACKWARD = 2.5
ATTENTION = ops.gated_attention.__name__


class RooflineRecorder(ScheduleRecorder):
    """Takes kernel times from a data sheet, and counts memory as if the meta tensors had any."""

    def __init__(self, ranks: RankGroup, sheet: Device) -> None:
        super().__init__(ranks, torch.device("meta"))
        self.sheet = sheet
        self.tracker = self.main = MemoryTracker()
        self.results: dict[Any, tuple[Any, float]] = {}

    def record_time(self) -> None:
        """Meta tensors take no time; kernels are recorded by `kernel`."""

    def compute(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        tracker = self.tracker
        flops, traffic, calls = tracker.flops, tracker.traffic, tracker.calls
        result = tracker.__torch_dispatch__(func, types, args, kwargs)
        if tracker is self.main and tracker.calls > calls and "empty" not in func._opname:
            self.kernel(tracker.flops - flops, tracker.traffic - traffic, args)
        return result

    def kernel(self, flops: float, traffic: float, args: Sequence[Any], rate: float = 0.0) -> None:
        """Record one kernel's time; it computes in the dtype of its first floating-point tensor.

        rate: its FLOP/s, if they were measured.
        """
        dtype = next((x.dtype for x in args if isinstance(x, Tensor) and x.is_floating_point()), torch.float32)
        self.schedule.events.append(self.sheet.seconds(flops, traffic, dtype, rate))
        self.schedule.flops += flops

    def untracked(self, key: Any, body: Callable[[], Any]) -> tuple[Any, float]:
        """Result and FLOPs of an operation's plain body, whose time and memory do not count; cached by `key`."""
        if key not in self.results:
            self.tracker = MemoryTracker()
            try:
                self.results[key] = body(), self.tracker.flops
            finally:
                self.tracker = self.main
        return self.results[key]


@contextmanager
def fused_kernels(recorder: RooflineRecorder) -> Iterator[None]:
    """Record each operation of `foldcli.ops` that has a kernel as one that only reads arguments and writes results."""
    bodies = {name: body for name in ops.__all__ if hasattr(body := getattr(ops, name), "__wrapped__")}
    for name, body in bodies.items():
        setattr(ops, name, partial(_as_kernel, recorder, body))
    try:
        yield
    finally:
        for name, body in bodies.items():
            setattr(ops, name, body)


def _as_kernel(recorder: RooflineRecorder, body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    leaves, tree = tree_flatten((args, kwargs))
    return _FusedKernel.apply(recorder, body, tree, *leaves)  # type: ignore[no-untyped-call]


class _FusedKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recorder: RooflineRecorder, func: Callable[..., Any], tree: Any, *leaves: Any) -> Any:
        args, kwargs = tree_unflatten(leaves, tree)
        key = func, *((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in leaves)
        result, ctx.flops = recorder.untracked(key, lambda: func(*args, **kwargs))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        single = isinstance(result, Tensor)
        results = tuple(torch.empty_like(x) for x in ([result] if single else result))
        ctx.recorder, ctx.places = recorder, [k for k, x in enumerate(leaves) if isinstance(x, Tensor)]
        ctx.save_for_backward(*tensors)
        known = recorder.sheet.attention if func.__name__ == ATTENTION else ()
        forward, ctx.rate = known or (0.0, 0.0)
        recorder.kernel(ctx.flops, sum(map(traffic_bytes, [*tensors, *results])), tensors, forward)
        return results[0] if single else results

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        made = {k: torch.empty_like(x) for k, x in zip(ctx.places, tensors, strict=True) if needed[k]}
        traffic = sum(map(traffic_bytes, [*tensors, *gradients, *made.values()]))
        ctx.recorder.kernel(BACKWARD * ctx.flops, traffic, tensors, ctx.rate)
        return None, None, None, *(made.get(k) for k in range(len(needed)))


def roofline_schedule(run: Callable[[], object], ranks: RankGroup, sheet: Device) -> Schedule:
    """The schedule of a call on meta tensors, with the kernel times of a GPU with this data sheet."""
    recorder = RooflineRecorder(ranks, sheet)
    countable = sdpa_kernel(SDPBackend.MATH)  # the FLOPs of other backends are not counted
    # nonzero() of a meta mask has no values: all of it counts as true
    with recorder, fused_kernels(recorder), countable, symbolic.patch(meta_nonzero_assume_all_nonzero=True):  # type: ignore[attr-defined]
        run()
    recorder.schedule.peak = recorder.main.peak
    return recorder.schedule
