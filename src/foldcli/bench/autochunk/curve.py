"""Peak memory against time of a module under AutoChunk's plans, beside the same module without chunking."""

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import nn

from foldcli.autochunk import Chunked
from foldcli.autochunk.chunked import Donated
from foldcli.autochunk.graph import mapped, tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.planner import Planner
from foldcli.bench.cases import Case, Cases, Sizes
from foldcli.bench.host import HostInfo, host_info, use_fold_allocator
from foldcli.bench.request import Request, device_and_dtype
from foldcli.bench.timing import seconds, warm_times
from foldcli.bench.work import tensor_bytes, work_of
from foldcli.compose import model_config
from foldcli.files import atomic_file
from foldcli.folding.chunking import overwritable
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.system_memory import peak_bytes, reset_peak

# Predicted time of a plan at most, relative to no chunking.
SLOWDOWNS = (1.005, 1.02, 1.06, 1.1, 1.2)
CLOSE = 0.97  # a plan whose memory is above this fraction of the one before is not measured
WHOLE = "whole"
SHORT = 30.0  # seconds; a shorter run without chunking is repeated after each plan


@dataclass(frozen=True)
class Point:
    """One way to run a module.

    peak: bytes beside parameters and inputs, with results, unless one takes an input's place; error: largest absolute
    difference of results from those without chunking; predicted: bytes that AutoChunk predicts; words: the plan in
    words.
    """

    name: str
    peak: int
    seconds: float
    error: float = 0.0
    predicted: float | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """Points of one module, the first without chunking; results: bytes of its results, which every point includes."""

    title: str
    machine: HostInfo
    request: Request
    results: int
    points: tuple[Point, ...]

    @property
    def whole(self) -> Point:
        return self.points[0]

    def saved(self, point: Point) -> float:
        """Fraction of the memory that a point saves."""
        return 1 - point.peak / self.whole.peak

    def saved_beside_results(self, point: Point) -> float:
        """The same without the memory of the results."""
        return 1 - (point.peak - self.results) / (self.whole.peak - self.results)


class CurveBench:
    """Measures one module without chunking and under several plans."""

    def __init__(self, module: nn.Module, inputs: tuple[Any, ...], donated: Donated = lambda *_: []) -> None:
        """donated: those of the inputs that a plan may overwrite; each call gets copies of them."""
        self.module, self.inputs, self.donated = module, inputs, donated
        self.device = tensors(inputs)[0].device
        self.expected: Any = None
        self.run = Chunked(module, Planner.tightest, donated=donated)
        self.planner = self.run.planner(*inputs)
        self.given = sum(tensor.nbytes for tensor in donated(*inputs))

    def whole(self) -> Point:
        """The module without chunking; its results are the reference of all other points."""
        self.expected, peak, taken = self._measured(self.module)
        return Point(WHOLE, peak, taken, predicted=work_of(Case(WHOLE, self.module, self.inputs, 0)).peak)

    def point(self, name: str, run: Callable[..., Any]) -> Point:
        """The module in another way: `run` takes its inputs and returns its results."""
        found, peak, taken = self._measured(run)
        pairs = zip(tensors(found), tensors(self.expected), strict=True)
        return Point(name, peak, taken, max(float((a - b).abs().max()) for a, b in pairs))

    def plans(self, slowdowns: Sequence[float]) -> Iterator[Point]:
        """For each slow-down, the plan of least memory that is predicted to stay within it."""
        before = float("inf")
        for slowdown in slowdowns:
            plan = self.planner.within(slowdown)
            if plan.peak > CLOSE * before:
                continue
            before = plan.peak
            self.run.use(partial(_given, plan), slowdown)
            self.run.plan(*self.inputs)
            predicted, words = plan.peak - self.given, tuple(plan.describe())
            yield replace(self.point(f"plan {slowdown}", self.run), predicted=predicted, words=words)

    def _measured(self, run: Callable[..., Any]) -> tuple[Any, int, float]:
        """Results, peak bytes and median seconds; a long call is timed once."""
        use_fold_allocator(self.device)  # before each point: the heap fragments of earlier ones add up
        found: list[Any] = []
        first: list[float] = []

        def call() -> None:
            found.clear()
            with torch.inference_mode():
                found.append(run(*self._fresh_inputs()))

        peak = self._peak(lambda: first.append(seconds(call, self.device))) - self.given
        return found[0], peak, warm_times(call, self.device, first[0]).median

    def _fresh_inputs(self) -> tuple[Any, ...]:
        """The inputs, with copies of those that are donated."""
        given = {id(tensor) for tensor in self.donated(*self.inputs)}
        return mapped(lambda leaf: leaf.clone() if id(leaf) in given else leaf, self.inputs)

    def _peak(self, call: Callable[[], object]) -> int:
        if self.device.type == "cpu":
            return peak_cpu_bytes(call)
        reset_peak(self.device)
        before = torch.cuda.memory_allocated(self.device)
        call()
        return peak_bytes(self.device) - before


def trunk(request: Request) -> CurveBench:
    """The model's trunk without templates in its first pass, with `request.blocks` or one block of each stack."""
    device, dtype = device_and_dtype(request.device, request.dtype)
    blocks = request.blocks or 1
    overrides = [f"model.{stack}.blocks={blocks}" for stack in ("evoformer", "extra_msa")]
    config = model_config(request.model, [*overrides, *request.overrides])
    (length,) = request.lengths
    cases = Cases(config, Sizes(length, request.depth, request.extra), device, dtype)
    features = replace(cases.features(), templates=None)
    inputs = features, cases.model.first_pass(features)
    return CurveBench(cases.model.trunk.requires_grad_(False), inputs, overwritable)


def title(request: Request) -> str:
    """Model and sizes on one line."""
    rows = f"{request.depth} and {request.extra} rows, {request.blocks or 1} blocks of each stack"
    return f"trunk of {request.model} at {request.lengths[0]} residues, {rows}"


def curve(
    name: str, request: Request, bench: CurveBench, progress: Callable[[Point], None], others: Iterable[Point] = (),
    slowdowns: Sequence[float] = SLOWDOWNS,
) -> Curve:  # fmt: skip
    """Measure a module without chunking, under plans, and add the points in `others`; `progress` is called with each.

    The time without chunking is measured again after every point, or after the last one if it is long. The median of
    these counts, since the very first run is slower.
    """
    points, again = [bench.whole()], []
    progress(points[0])
    for point in itertools.chain(bench.plans(slowdowns), others):
        points.append(point)
        progress(point)
        if points[0].seconds < SHORT:
            again.append(bench.whole().seconds)
    points[0] = replace(points[0], seconds=statistics.median(again or [bench.whole().seconds]))
    return Curve(name, host_info(bench.device), request, tensor_bytes(bench.expected), tuple(points))


def table(found: Curve) -> Table:
    """The curve as a table."""
    grid = Table("plan", "peak MiB", "saved", "saved without results", "time", "predicted / peak", "max error")
    for column in grid.columns[1:]:
        column.justify = "right"
    for point in found.points:
        predicted = "" if point.predicted is None else f"{point.predicted / point.peak:.3f}"
        saved = f"{found.saved(point):.1%}", f"{found.saved_beside_results(point):.1%}"
        times = f"{point.seconds / found.whole.seconds:.2f}", predicted, f"{point.error:.1e}"
        grid.add_row(point.name, f"{point.peak / 2**20:,.0f}", *saved, *times)
    grid.title = f"{found.title}; time without chunking: {found.whole.seconds:.1f} s"
    return grid


def curve_png(path: Path, found: Curve) -> None:
    """Plot memory against time; FoldcliError if unwritable."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(6, 4), layout="constrained")
    axis = picture.subplots()
    for prefix, style in (("plan", "o-"), ("rows", "s:"), (WHOLE, "k*")):
        some = sorted((p for p in found.points if p.name.startswith(prefix)), key=lambda p: p.seconds)
        ratios = [point.seconds / found.whole.seconds for point in some]
        axis.plot(ratios, [point.peak / 2**20 for point in some], style, label=prefix if some else None)
    axis.axhline(found.results / 2**20, color="0.6", linewidth=0.8, label="the results alone")
    axis.set(xlabel="time relative to no chunking", ylabel="peak MiB beside parameters and inputs", ylim=(0, None))
    axis.set_title(found.title.replace(", ", "\n", 1), fontsize="medium")
    axis.legend(frameon=False)
    with atomic_file(path) as file:
        picture.savefig(file, format="png", dpi=150, metadata={"Software": None})


def _given(plan: Plan, planner: Planner) -> Plan:
    return plan
