"""What a region takes, in memory and time, by how many steps of its loop a slice has."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.dimensions import Cut
from foldcli.autochunk.footprint import Footprint, measure_footprint
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.plan import Loop, Whole
from foldcli.autochunk.region_search import ChunkedCall, Region, regions_of_all_calls

# Into how many slices calls before a loop come apart, and the share of their memory that this must leave.
PIECES, CLEARLY = 16, 0.75


@dataclass(frozen=True)
class Linear:
    """A quantity that grows with the steps of a slice."""

    fixed: float
    each: float

    def at(self, steps: int) -> float:
        return self.fixed + self.each * steps

    @staticmethod
    def through(first: int, low: float, second: int, high: float) -> "Linear":
        each = (high - low) / (second - first) if second > first else 0.0
        return Linear(low - each * first, each)


@dataclass(frozen=True)
class RegionEstimate:
    """A region's peak in bytes and one slice's seconds, both by the steps of a slice; the calls' seconds if whole."""

    peak: Linear
    least: float
    slice_seconds: Linear
    whole_seconds: float

    def most_steps(self, budget: float, length: int) -> int:
        """The longest slice that stays within a budget of bytes; 0 if none does."""
        if self.least > budget or self.peak.at(1) > budget:
            return 0
        fits = length if self.peak.each <= 0 else int((budget - self.peak.fixed) / self.peak.each)
        return max(0, min(fits, math.ceil(length / 2)))

    def extra_seconds(self, steps: int, length: int) -> float:
        loops = length / steps
        return loops * self.slice_seconds.at(steps) - self.whole_seconds


class RegionCost:
    """Measures slices of calls, on tensors without memory, and puts regions together from them."""

    def __init__(self, program: Program, rates: DeviceRates, mode: FakeTensorMode) -> None:
        self.program, self.rates, self.mode = program, rates, mode
        self.footprint = cache(self._footprint)
        self.estimate = cache(self._estimate)
        self.least = cache(self._least)
        self.hoisted = cache(self._hoisted)
        self.in_loop = cache(self._in_loop)
        self.whole: Callable[[int], Tensor] = cache(lambda value: program.spec(value).empty())  # under the mode

    def _estimate(self, region: Region) -> RegionEstimate:
        live, least = self._at_start(region)
        buffers = self._buffers(region)
        points = sorted({max(1, region.length // 32), region.length})
        peaks = [self._body_peak(region, steps) for steps in points]
        seconds = [self._body_seconds(region, steps) for steps in points]
        whole = sum(self.rates.seconds(self.program.shaped.footprints[member.index]) for member in region.body)
        whole -= sum(self._extra(step) for step in self.hoisted(region) if isinstance(step, Loop))
        peak = Linear.through(points[0], peaks[0], points[-1], peaks[-1])
        return RegionEstimate(
            Linear(peak.fixed + live + buffers, peak.each), least,
            Linear.through(points[0], seconds[0], points[-1], seconds[-1]), whole,
        )  # fmt: skip

    def _least(self, region: Region) -> float:
        """Bytes that a region takes at least, without a look at its calls."""
        live, peak = self._at_start(region)
        return max(peak, live + self._buffers(region))

    def _hoisted(self, region: Region) -> tuple[Whole | Loop, ...]:
        """How the calls that do not vary run: as many in a row as can be in one loop, if that takes less memory."""
        steps: list[Whole | Loop] = []
        waiting = list(region.hoisted)
        while waiting:
            row = next((n for n, index in enumerate(waiting) if index != waiting[0] + n), len(waiting))
            loops = (self.in_loop(waiting[0], waiting[0] + count) for count in range(row, 0, -1))
            steps.append(next((loop for loop in loops if loop), Whole(waiting[0])))
            del waiting[: len(steps[-1].calls)]
        return tuple(steps)

    def _in_loop(self, start: int, stop: int) -> Loop | None:
        """These calls in slices; None if they cannot be, or take hardly less."""
        regions = regions_of_all_calls(self.program, start, stop)
        loops = [Loop(region, math.ceil(region.length / PIECES), ()) for region in regions]
        best = min(loops, key=self._loop_peak, default=None)
        whole = max(footprint.peak for footprint in self.program.shaped.footprints[start:stop])
        return best if best and self._loop_peak(best) < CLEARLY * whole else None

    def _loop_peak(self, loop: Loop) -> float:
        return self._buffers(loop.region) + self._body_peak(loop.region, loop.steps)

    def _extra(self, loop: Loop) -> float:
        """Seconds that a loop takes more than its call does whole."""
        return self.estimate(loop.region).extra_seconds(loop.steps, loop.region.length)

    def _at_start(self, region: Region) -> tuple[float, float]:
        """Bytes alive when the loop starts, its results' memory apart; the peak of the calls before it."""
        live: float = self.program.live[region.start]
        peak = live
        body = {value for member in region.body for value in self.program.calls[member.index].operands}
        for step in self.hoisted(region):
            if isinstance(step, Loop):
                top, kept = self._loop_peak(step), self._buffers(step.region)
            else:
                footprint = self.program.shaped.footprints[step.index]
                top, kept = footprint.peak, footprint.kept
            peak = max(peak, live + top)
            live += kept - sum(
                self.program.spec(value).bytes for index in step.calls for value in self.program.freed_by(index)
                if self.program.producer.get(self.program.spec(value).storage, -1) < step.calls[0]
                and not body & set(self.program.aliases[self.program.spec(value).storage])
            )  # fmt: skip
        return live, peak

    def _buffers(self, region: Region) -> int:
        replaced = {output for output, _ in region.in_place}
        specs = [self.program.spec(value) for value, _ in region.outputs if value not in replaced]
        return sum(spec.nbytes for spec in specs)

    def _body_peak(self, region: Region, steps: int) -> float:
        """Bytes that one pass of the loop takes at most, by the same liveness as of whole calls."""
        ends = self._ends(region)
        live = peak = 0
        freed: dict[int, list[int]] = {}
        for member, footprint in zip(region.body, self._footprints(region, steps), strict=True):
            peak = max(peak, live + footprint.peak)
            live += footprint.kept
            freed.setdefault(ends[member.index], []).append(footprint.kept)
            live -= sum(freed.pop(member.index, []))
        return peak

    def _ends(self, region: Region) -> Mapping[int, int]:
        """For each call of the body, the last call of it that reads what the call made, or a view of that."""
        outputs = {value for value, _ in region.outputs}
        made_by: dict[int, set[int]] = {}
        last = {member.index: member.index for member in region.body}
        for member in region.body:
            call = self.program.calls[member.index]
            for value in call.operands:
                for maker in made_by.get(value, ()):
                    last[maker] = member.index
            for value in call.results:
                root = self.program.producer.get(self.program.spec(value).storage, -1)
                made_by[value] = {member.index, root} & last.keys()
                if value in outputs:
                    last.update(dict.fromkeys(made_by[value], region.stop))
        return last

    def _footprints(self, region: Region, steps: int) -> Iterator[Footprint]:
        """Of each call of the body, whose operands may come from the body itself."""
        made = {value for member in region.body for value in self.program.calls[member.index].results}
        for member in region.body:
            internal = tuple(value in made for value in self.program.calls[member.index].operands)
            yield self.footprint(member, internal, steps)

    def _footprint(self, member: ChunkedCall, internal: tuple[bool, ...], steps: int) -> Footprint:
        call = self.program.calls[member.index]
        if steps * member.factor == member.chunking.length:
            return self.program.shaped.footprints[member.index]
        with self.mode, torch.inference_mode(False), torch.no_grad():
            given = [
                self._slice(value, cut, own, steps)
                for value, cut, own in zip(call.operands, member.operand_cuts(), internal, strict=True)
            ]
            queue = iter(given)
            args, kwargs = call.filled(lambda _: next(queue))
            if member.chunking.adapt:
                args, kwargs = member.chunking.adapt(args, kwargs, steps * member.factor)
            return measure_footprint(lambda: tensors(call.function(*args, **kwargs)), given)[1]

    def _slice(self, value: int, cut: Cut | None, internal: bool, steps: int) -> Tensor:
        """An operand as a pass of the loop sees it: a view of what is whole, or what an earlier call has made."""
        spec = self.program.spec(value)
        if cut is None:
            return self.whole(value)
        shape = (*spec.shape[: cut.dim], cut.step * steps, *spec.shape[cut.dim + 1 :])
        stride = dense_strides(shape, spec.stride) if internal else spec.stride
        return torch.empty_strided(shape, stride, dtype=spec.dtype, device=spec.device)

    def _body_seconds(self, region: Region, steps: int) -> float:
        total = sum(self.rates.seconds(footprint) for footprint in self._footprints(region, steps))
        for value, cut in region.outputs:
            spec = self.program.spec(value)
            share = cut.step * steps / spec.shape[cut.dim]
            traffic = int(2 * share * spec.nbytes)
            total += self.rates.seconds(Footprint(traffic=traffic, calls=1))
        return total


def dense_strides(shape: tuple[int, ...], like: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor without gaps, its dimensions in the order of another's."""
    strides, reach = [0] * len(shape), 1
    for dim in sorted(range(len(shape)), key=lambda dim: (like[dim], -dim)):
        strides[dim], reach = reach, reach * shape[dim]
    return tuple(strides)
