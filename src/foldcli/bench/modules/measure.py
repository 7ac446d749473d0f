"""Measure the modules of a model one after another."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from foldcli.autochunk import Chunked
from foldcli.autochunk.planner import Planner
from foldcli.bench.cases import Case, Cases, Sizes, calls_per_pass, select_modules
from foldcli.bench.host import host_info, use_fold_allocator
from foldcli.bench.limits import Limits, limits_of
from foldcli.bench.modules.results import Figure, Measured, Pass, Sliced
from foldcli.bench.request import Request, device_and_dtype
from foldcli.bench.timing import Times, seconds, warm_times
from foldcli.bench.work import Work, gradient_leaves, gradients, training_work_of, work_of
from foldcli.byte_units import GIB
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.system_memory import available_bytes, peak_bytes, reset_peak

# Share of the free memory that a module may take; the rest is for other programs.
SHARE = 0.85
# Share of a module's memory for which AutoChunk's prediction is shown.
SLICED_SHARE = 0.25


def measure(
    request: Request, progress: Callable[[str], None], done: Callable[[int, Figure], None] = lambda length, figure: None
) -> Measured:
    """Measure each module at each length; `progress` is called with what is measured next, `done` with what was.

    InputError: an unknown preset, module, device or setting.
    """
    device, dtype = device_and_dtype(request.device, request.dtype)
    config = request.config()
    names = select_modules(config, request.modules)
    use_fold_allocator(device)
    limits = limits_of(device, dtype)
    figures: dict[int, list[Figure]] = {}
    for length in request.lengths:
        limits = limits.best(limits_of(device, dtype))
        cases = Cases(config, Sizes(length, request.depth, request.extra), device, dtype)
        bench = ModuleBench(cases, limits, request.limit, request.backward)
        figures[length] = []
        for name in names:
            progress(f"{length} residues: {name}")
            figures[length].append(bench.figure(cases.case(name)))
            done(length, figures[length][-1])
    return Measured(host_info(device), request, limits, figures)


class ModuleBench:
    """Measures cases; stops after `seconds` on the CPU, and has no limit on a GPU."""

    def __init__(self, cases: Cases, limits: Limits, seconds: float, backward: bool) -> None:
        self.cases, self.limits, self.left, self.backward = cases, limits, seconds, backward
        self.device = cases.device

    def figure(self, case: Case) -> Figure:
        """Work, times and memory of a module, or a note why it was not measured."""
        work, backward_work = training_work_of(case) if self.backward else (work_of(case), None)
        figure = Figure(case.name, calls_per_pass(self.cases.config, case.name), Pass(work), sliced=sliced(case))
        figure = self._forward(case, figure)
        if backward_work is None or figure.forward.times is None:
            return figure
        return self._backward(case, replace(figure, backward=Pass(backward_work)), backward_work)

    def _forward(self, case: Case, figure: Figure) -> Figure:
        if note := self._no_time_reason(figure.forward.work):
            return replace(figure, note=note)
        module, note = case.module, ""
        if figure.forward.work.peak > self._free():
            module, note = self._chunked(case.module), "chunked, since it does not fit in memory otherwise"

        def run() -> Any:
            with torch.inference_mode():
                return module(*case.inputs)

        times, peak = self._measured(run)
        return replace(figure, forward=replace(figure.forward, times=times, peak=peak), note=note)

    def _backward(self, case: Case, figure: Figure, work: Work) -> Figure:
        if note := self._no_time_reason(work):
            return replace(figure, note=f"backward: {note}")
        if work.peak > self._free():
            return replace(figure, note=f"backward: not measured: takes {work.peak / GIB:.1f} GiB, more than is free")
        leaves = gradient_leaves(case, dict(case.module.named_parameters()), case.inputs)
        for leaf in leaves:
            leaf.requires_grad_()
        results: list[Any] = []
        kept = self._peak(lambda: results.append(case.module(*case.inputs)))
        times, peak = self._measured(lambda: gradients(results[0], leaves, keep=True))
        for leaf in leaves:
            leaf.requires_grad_(False)
        return replace(figure, backward=Pass(work, times, kept + peak))

    def _measured(self, run: Callable[[], Any]) -> tuple[Times, int]:
        """Times of warm calls, and peak bytes of the first call."""
        if self.device.type == "cuda":
            run()  # compiles and tunes kernels
        first: list[float] = []
        peak = self._peak(lambda: first.append(seconds(run, self.device)))
        times = warm_times(run, self.device, first[0])
        self.left -= sum(times.each)
        return times, peak

    def _peak(self, run: Callable[[], object]) -> int:
        if self.device.type == "cpu":
            return peak_cpu_bytes(run)
        torch.cuda.synchronize(self.device)
        reset_peak(self.device)
        before = torch.cuda.memory_allocated(self.device)
        run()
        return peak_bytes(self.device) - before

    def _no_time_reason(self, work: Work) -> str:
        """Why the time left does not suffice for this work, "" if it does."""
        least = self.limits.least_seconds(work)
        if self.device.type == "cuda" or least <= self.left:
            return ""
        return f"not measured: takes {least:.0f} s at least here, and {max(self.left, 0):.0f} s are left of --limit"

    def _free(self) -> float:
        """Bytes that a module may take; its predicted peak is that of plain bodies, above that of fused kernels."""
        return SHARE * (available_bytes(self.device) or float("inf"))

    def _chunked(self, module: nn.Module) -> Chunked:
        return Chunked(module, lambda planner: planner.fit(self._free()) or planner.tightest())


def sliced(case: Case) -> Sliced:
    """AutoChunk's prediction for a module at a quarter of its memory."""
    planner = Chunked(case.module, Planner.tightest).planner(*case.inputs)
    whole = planner.whole()
    plan = planner.fit(SLICED_SHARE * whole.peak)
    if plan is None:
        return Sliced(whole.peak, None, ())
    return Sliced(whole.peak, plan.seconds / whole.seconds, tuple(plan.describe()))
