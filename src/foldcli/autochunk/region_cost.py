"""Memory and time estimation of a chunk region, as linear functions of the chunk size."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.dimensions import Cut
from foldcli.autochunk.footprint import Footprint
from foldcli.autochunk.known_calls import footprint_of
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.peel_cost import PeelEstimate, least_of_peel
from foldcli.autochunk.peeling import Peel
from foldcli.autochunk.plan import Loop, Single
from foldcli.autochunk.region_search import ChunkedCall, Region, needed_after, regions_of_all_calls
from foldcli.autochunk.tensor_spec import TensorSpec

# Hoisted calls run in a loop of so many chunks, if that takes at most this share of their memory.
HOISTED_CHUNKS, HOISTED_SHARE = 16, 0.75


@dataclass(frozen=True)
class Linear:
    """A quantity that grows linearly with the chunk size: fixed + each * chunk size."""

    fixed: float
    each: float

    def at(self, chunk_size: int) -> float:
        return self.fixed + self.each * chunk_size

    @staticmethod
    def through(first: int, low: float, second: int, high: float) -> "Linear":
        each = (high - low) / (second - first) if second > first else 0.0
        return Linear(low - each * first, each)


@dataclass(frozen=True)
class RegionEstimate:
    """What a region takes.

    peak: bytes at most while the loop runs, by chunk size; hoisted_peak: the same while the hoisted calls run;
    chunk_seconds: time of one chunk, by chunk size; whole_seconds: time of the body's calls without a loop.
    """

    peak: Linear
    hoisted_peak: float
    chunk_seconds: Linear
    whole_seconds: float

    def largest_chunk(self, budget: float, length: int) -> int:
        """The largest chunk size that keeps within a budget of bytes, at most half the length; 0 if none does."""
        if self.least > budget:
            return 0
        fits = length if self.peak.each <= 0 else int((budget - self.peak.fixed) / self.peak.each)
        return max(1, min(fits, math.ceil(length / 2)))

    @property
    def least(self) -> float:
        """The least budget of bytes that a chunk size keeps within."""
        return self.at(1)

    def at(self, chunk_size: int) -> float:
        """Bytes at most, with the hoisted calls'."""
        return max(self.hoisted_peak, self.peak.at(chunk_size))

    def extra_seconds(self, chunk_size: int, length: int) -> float:
        """Time that the loop takes more than its calls do without it; negative if it is faster."""
        chunks = length / chunk_size
        return chunks * self.chunk_seconds.at(chunk_size) - self.whole_seconds


class RegionCost:
    """Estimates regions from the footprints of their calls on chunks, measured on fake tensors.

    aside_on_host: whether what peelings keep aside waits in host memory.
    """

    def __init__(self, program: Program, rates: DeviceRates, mode: FakeTensorMode, aside_on_host: bool = False) -> None:
        self.program, self.rates, self.mode, self.aside_on_host = program, rates, mode, aside_on_host
        self.footprint = cache(self._footprint)
        self.estimate = cache(self._estimate)
        self.lower_bound = cache(self._lower_bound)
        self.quick_bound = cache(self._quick_bound)
        self.hoisted = cache(self._hoisted)
        self.in_loop = cache(self._in_loop)

    def _estimate(self, region: Region | Peel) -> RegionEstimate | PeelEstimate:
        if isinstance(region, Peel):
            return PeelEstimate(self, region)
        live, hoisted_peak = self._before_loop(region)
        buffers = self._buffers(region)
        # Measured at two chunk sizes, and linear between them.
        points = sorted({max(1, region.length // 32), region.length})
        peaks = [self.body_peak(region, chunk_size) for chunk_size in points]
        seconds = [self.body_seconds(region, chunk_size) for chunk_size in points]
        whole = sum(self.rates.seconds(self.program.shaped.footprints[member.index]) for member in region.body)
        whole -= sum(self._extra_seconds(step) for step in self.hoisted(region) if isinstance(step, Loop))
        peak = Linear.through(points[0], peaks[0], points[-1], peaks[-1])
        return RegionEstimate(
            Linear(peak.fixed + live + buffers, peak.each), hoisted_peak,
            Linear.through(points[0], seconds[0], points[-1], seconds[-1]), whole,
        )  # fmt: skip

    def _lower_bound(self, region: Region | Peel) -> float:
        """A peak that no chunk size can go below: the hoisted calls', and the loop's results."""
        if isinstance(region, Peel):
            return least_of_peel(self, region)
        live, peak = self._before_loop(region)
        return max(peak, live + self._buffers(region))

    def _quick_bound(self, region: Region | Peel) -> float:
        """A lower one that is quick to compute: it leaves out what hoisted calls take while they run."""
        if isinstance(region, Peel):
            return least_of_peel(self, region)
        program, made, freed = self.program, dict[int, int](), set[int]()
        body = {value for member in region.body for value in program.calls[member.index].operands}
        for index in region.hoisted:
            for value in program.calls[index].results:
                spec = program.spec(value)
                if spec.storage == value and (value in body or needed_after(program, value, region.stop)):
                    made[value] = spec.nbytes
            freed.update(program.spec(value).storage for value in program.freed_by(index))
        live = program.live[region.start]
        gone = sum(program.storages[storage].bytes for storage in freed)
        return max(live, live + sum(made.values()) + self._buffers(region) - gone)

    def _hoisted(self, region: Region) -> tuple[Single | Loop, ...]:
        """How a region's hoisted calls run: in loops, as many calls in each as can be, where that saves memory."""
        steps: list[Single | Loop] = []
        waiting = list(region.hoisted)
        while waiting:
            row = next((n for n, index in enumerate(waiting) if index != waiting[0] + n), len(waiting))
            loops = (self.in_loop(waiting[0], waiting[0] + count) for count in range(row, 0, -1))
            steps.append(next((loop for loop in loops if loop), Single(waiting[0])))
            del waiting[: len(steps[-1].calls)]
        return tuple(steps)

    def _in_loop(self, start: int, stop: int) -> Loop | None:
        """These calls in a loop of HOISTED_CHUNKS; None if they cannot be chunked, or take hardly less."""
        regions = regions_of_all_calls(self.program, start, stop)
        most = HOISTED_SHARE * max(footprint.peak for footprint in self.program.shaped.footprints[start:stop])
        loops = [Loop(region, math.ceil(region.length / HOISTED_CHUNKS), ())
                 for region in regions if self._buffers(region) < most]  # fmt: skip
        best = min(loops, key=self._loop_peak, default=None)
        return best if best and self._loop_peak(best) < most else None

    def _loop_peak(self, loop: Loop) -> float:
        return self._buffers(loop.region) + self.body_peak(loop.region, loop.chunk_size)

    def _extra_seconds(self, loop: Loop) -> float:
        """Time that a loop takes more than its calls do without it."""
        return self.estimate(loop.region).extra_seconds(loop.chunk_size, loop.region.length)

    def _before_loop(self, region: Region) -> tuple[float, float]:
        """Bytes alive when the loop starts, without its results' buffers; the peak of the hoisted calls before it."""
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
                self.program.spec(value).storage_bytes for index in step.calls for value in self.program.freed_by(index)
                if self.program.producer.get(self.program.spec(value).storage, -1) < step.calls[0]
                and not body & set(self.program.aliases[self.program.spec(value).storage])
            )  # fmt: skip
        return live, peak

    def _buffers(self, region: Region) -> int:
        """Bytes of the memory allocated for the loop's results."""
        replaced = {output for output, _ in region.in_place}
        specs = [self.program.spec(value) for value, _ in region.outputs if value not in replaced]
        return sum(spec.nbytes for spec in specs)

    def body_peak(self, region: Region, chunk_size: int) -> float:
        """Peak of one pass through the loop's body, by the liveness of the chunks it makes."""
        return self.peak_of(region, self._footprints(region, chunk_size))

    def peak_of(self, region: Region, footprints: Iterable[Footprint]) -> float:
        """Peak of one pass through the loop's body, whose calls have these footprints."""
        last_uses = self._last_uses(region)
        live = peak = 0
        freed: dict[int, list[int]] = {}
        for member, footprint in zip(region.body, footprints, strict=True):
            peak = max(peak, live + footprint.peak)
            live += footprint.kept
            freed.setdefault(last_uses[member.index], []).append(footprint.kept)
            live -= sum(freed.pop(member.index, []))
        return peak

    def _last_uses(self, region: Region) -> Mapping[int, int]:
        """For each call of the body, the last one that reads a result of it, or a view of that."""
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

    def _footprints(self, region: Region, chunk_size: int) -> Iterator[Footprint]:
        """Footprints of the body's calls on one chunk."""
        made = {value for member in region.body for value in self.program.calls[member.index].results}
        for member in region.body:
            internal = tuple(value in made for value in self.program.calls[member.index].operands)
            yield self.footprint(member, internal, chunk_size)

    def _footprint(self, member: ChunkedCall, internal: tuple[bool, ...], chunk_size: int) -> Footprint:
        call = self.program.calls[member.index]
        if chunk_size * member.factor == member.chunking.length:
            return self.program.shaped.footprints[member.index]
        specs = [
            self._operand(place, value, (cut,), own, chunk_size)
            for place, (value, cut, own) in enumerate(zip(call.operands, member.operand_cuts(), internal, strict=True))
        ]
        args, kwargs = call.args, dict(call.kwargs)
        if member.chunking.adapt:
            args, kwargs = member.chunking.adapt(args, kwargs, chunk_size * member.factor)
        return footprint_of(self.mode, call.function, args, kwargs, specs)

    def tile_footprints(self, peel: Peel, rows: int) -> Iterator[Footprint]:
        """Footprints of the calls that make a tile of a peeling, of so many rows and columns."""
        made = {value for index in range(peel.start, peel.stop) for value in self.program.calls[index].results}
        for along, across in zip(peel.tile.body, peel.across, strict=True):
            call = self.program.calls[along.index]
            ends = zip(call.operands, along.operand_cuts(), across.operand_cuts(), strict=True)
            specs = [self._operand(place, value, (a, b), value in made, rows)
                     for place, (value, a, b) in enumerate(ends)]  # fmt: skip
            yield footprint_of(self.mode, call.function, call.args, dict(call.kwargs), specs)

    def chunk_bytes(self, value: int, cut: Cut, chunk_size: int) -> float:
        """Bytes of a chunk of a value."""
        spec = self.program.spec(value)
        return spec.nbytes * cut.step * chunk_size / spec.shape[cut.dim]

    def _operand(
        self, place: int, value: int, cuts: tuple[Cut | None, ...], internal: bool, chunk_size: int
    ) -> TensorSpec:
        """An operand on one chunk: the whole tensor, a slice of it, or (internal) a chunk that the body made."""
        spec = self.program.spec(value)
        sizes = {cut.dim: cut.step * chunk_size for cut in cuts if cut}
        if not sizes:
            return replace(spec, storage=value, offset=0)
        shape = tuple(sizes.get(dim, size) for dim, size in enumerate(spec.shape))
        stride = dense_strides(shape, spec.stride) if internal else spec.stride
        return replace(spec, shape=shape, stride=stride, storage=-1 - place, offset=0)

    def body_seconds(self, region: Region, chunk_size: int) -> float:
        total = sum(self.rates.seconds(footprint) for footprint in self._footprints(region, chunk_size))
        for value, cut in region.outputs:
            spec = self.program.spec(value)
            share = cut.step * chunk_size / spec.shape[cut.dim]
            traffic = int(2 * share * spec.nbytes)
            total += self.rates.seconds(Footprint(traffic=traffic, calls=1))
        return total


def dense_strides(shape: tuple[int, ...], like: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor without gaps, with the dimensions in the order that the strides `like` have."""
    strides, reach = [0] * len(shape), 1
    for dim in sorted(range(len(shape)), key=lambda dim: (like[dim], -dim)):
        strides[dim], reach = reach, reach * shape[dim]
    return tuple(strides)
