"""Chunk selection: choose the chunk regions and chunk sizes of the fastest plan within a memory budget.

`Selector.fit` finds it as a shortest path through the calls: an edge is a call alone, or a candidate region from
`region_search` with the largest chunks that fit; its length is the time lost to chunking. `Selector.least` finds in
one pass the smallest budget that such a path fits in: each region in chunks of one step.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from foldcli.autochunk.liveness import Program
from foldcli.autochunk.peeling import Peel, peels
from foldcli.autochunk.plan import Loop, Plan, Single, Step, Strips
from foldcli.autochunk.region_cost import RegionCost
from foldcli.autochunk.region_search import MAX_REGION_CALLS, Region, candidate_regions
from foldcli.autochunk.shape_prop import ShapedGraph

if TYPE_CHECKING:
    from foldcli.autochunk.planner import Planner

# Operands that take at most 1/64 of the largest are not donated to a block.
SMALL = 64


@dataclass(frozen=True)
class _Choice:
    """An edge of the path, or the best path that ends with it.

    extra: seconds lost to chunking, of the edge or the whole path; peak: bytes, of the edge; start: the first call that
    the step covers; block: the plan, if the step is a block.
    """

    extra: float
    peak: float
    start: int
    step: Step
    block: Plan | None = None


class Selector:
    """Selects chunk regions for a graph with its calls in a fixed order.

    parked: bytes that rest in host memory, where what peelings keep aside waits as well; None if nothing does.
    """

    def __init__(self, planner: "Planner", shaped: ShapedGraph, parked: int | None = None) -> None:
        self.planner = planner
        self.host = planner.host - (parked or 0)
        self.program = Program(shaped, planner.donated)
        self.cost = RegionCost(self.program, planner.rates, planner.mode, parked is not None)
        self.regions: Callable[[int], list[Region | Peel]] = cache(self._regions)
        self.seconds = [planner.rates.seconds(footprint) for footprint in shaped.footprints]

    def _regions(self, stop: int) -> list[Region | Peel]:
        return [*candidate_regions(self.program, stop), *peels(self.program, stop)]

    def fit(self, budget: float) -> Plan | None:
        """The fastest plan within a budget of bytes, None if there is none.

        Dynamic programming over the calls: the best path to each one ends with that call alone or with a region. Only
        regions around a call that does not fit alone are tried.
        """
        best: list[_Choice | None] = [_Choice(0.0, self.program.live[0], 0, Single(-1))]
        fits = [self._single(index, budget) for index in range(len(self.program.calls))]
        last_misfit = [-1]  # for each stop, the last call before it that does not fit alone, -1 for none
        for index, choice in enumerate(fits):
            last_misfit.append(index if choice is None else last_misfit[-1])
        for stop in range(1, len(fits) + 1):
            edges = [fits[stop - 1]]
            if stop - last_misfit[stop] <= MAX_REGION_CALLS:
                edges += self._loops(stop, last_misfit[stop], budget, best)
            best.append(_best(best, [edge for edge in edges if edge is not None]))
        return self._plan(best) if best[-1] is not None else None

    def _single(self, index: int, budget: float) -> _Choice | None:
        """The edge of a call alone, None if it does not fit."""
        program, shaped = self.program, self.program.shaped
        if index not in shaped.blocks:
            peak = program.live[index] + shaped.footprints[index].peak
            return _Choice(0.0, peak, index, Single(index)) if peak <= budget else None
        others, planner = self._block(index)
        plan = planner.fit(budget - others)
        return None if plan is None else _Choice(plan.extra, others + plan.peak, index, Single(index), plan)

    def _donated(self, index: int) -> list[int]:
        """Operands that a block may overwrite or free: not small ones, so that more blocks share a planner."""
        dying = self.program.freed_by(index)
        most = max((self.program.spec(value).storage_bytes for value in dying), default=0)
        return [value for value in dying if SMALL * self.program.spec(value).storage_bytes > most]

    def _loops(self, stop: int, last_misfit: int, budget: float, best: list[_Choice | None]) -> Iterator[_Choice]:
        """The edges of regions that end before `stop`, contain the call that does not fit alone, and can be reached."""
        for region in self.regions(stop):
            if region.start > last_misfit or best[region.start] is None:
                continue
            if self.cost.quick_bound(region) > budget or self.cost.lower_bound(region) > budget:
                continue
            estimate = self.cost.estimate(region)
            chunk_size = estimate.largest_chunk(budget, region.length)
            if chunk_size:
                chunk_size = math.ceil(region.length / math.ceil(region.length / chunk_size))  # equal chunks
                extra = max(estimate.extra_seconds(chunk_size, region.length), 0.0)
                yield _Choice(extra, estimate.at(chunk_size), region.start, self._step(region, chunk_size))

    def _step(self, region: Region | Peel, chunk_size: int) -> Loop | Strips:
        if isinstance(region, Peel):
            return Strips(region, chunk_size, self.cost.aside_on_host)
        return Loop(region, chunk_size, self.cost.hoisted(region))

    def least(self, above: float) -> float:
        """The least budget that `fit` finds a plan for: the least peak of any path, of each its highest edge.

        In whole bytes, so that a budget less what is alive beside a block is exact; `above` if a plan fits in that.
        """
        program = self.program
        floor = max(above, program.live[0])
        blocks = (self._block(index) for index in program.shaped.blocks)  # no loop has one in its body
        for others, planner in sorted(blocks, key=lambda block: -block[0]):
            floor = max(floor, others + planner.least(floor - others))
        alone = [floor if index in program.shaped.blocks else program.live[index] + footprint.peak
                 for index, footprint in enumerate(program.shaped.footprints)]  # fmt: skip
        floor = self._floor(alone, floor)
        found = self._lowest(alone, floor, floor)
        found = found if found <= floor else self._lowest(alone, floor, math.inf)
        return above if found <= above else math.ceil(found)

    def _floor(self, alone: list[float], floor: float) -> float:
        """What no path is below, by what each call takes alone: the least of any edge around those that take most."""
        around: dict[int, list[Region | Peel]] = {}
        for index, peak in enumerate(alone):
            if peak > floor:
                stops = range(index + 1, min(index + MAX_REGION_CALLS, len(alone)) + 1)
                found = (region for stop in stops for region in self.regions(stop) if region.start <= index)
                around[index] = sorted(found, key=self.cost.quick_bound)
        least = (min([alone[index], *map(self.cost.quick_bound, regions[:1])]) for index, regions in around.items())
        floor = max([floor, *least])
        for index, regions in around.items():
            best = alone[index]
            for region in regions:
                best = self._lower(region, floor, best) if best > floor else best
            floor = max(floor, best)
        return floor

    def _lowest(self, alone: list[float], floor: float, limit: float) -> float:
        """The least peak of any path, which is `floor` at least; anything above `limit` if it is higher than that."""
        lowest = [floor]
        for stop in range(1, len(alone) + 1):
            best = min(max(lowest[stop - 1], alone[stop - 1]), limit + 1)
            reached = lowest[max(0, stop - MAX_REGION_CALLS) :]
            for region in self.regions(stop) if min(reached) < best else ():
                best = self._lower(region, lowest[region.start], best)
            lowest.append(best)
        return lowest[-1]

    def _lower(self, region: Region | Peel, before: float, best: float) -> float:
        """The lower of the best peak so far and that of a path that ends with a region; before: the path's up to it."""
        if max(before, self.cost.quick_bound(region)) >= best or self.cost.lower_bound(region) >= best:
            return best
        return min(best, max(before, self.cost.estimate(region).least))

    def _block(self, index: int) -> tuple[int, "Planner"]:
        """The bytes alive beside a block while it runs, and its planner."""
        inner, given = self.program.shaped.blocks[index], self._donated(index)
        operands = self.program.calls[index].operands
        donated = frozenset(inner.graph.inputs[operands.index(value)] for value in given)
        held = sum(self.program.spec(value).storage_bytes for value in given)
        return self.program.live[index] - held, self.planner.block(inner, donated, self.host)

    def _plan(self, best: list[_Choice | None]) -> Plan:
        """The plan along the best path, read backwards from the last call."""
        steps, blocks, peak = [], {}, 0.0
        stop, total = len(best) - 1, best[-1]
        assert total is not None
        while stop:
            choice = best[stop]
            assert choice is not None
            steps.append(choice.step)
            peak = max(peak, choice.peak)
            if choice.block is not None and isinstance(choice.step, Single):
                blocks[choice.step.index] = choice.block
            stop = choice.start
        seconds = sum(self.seconds) + total.extra
        return Plan(self.program, tuple(reversed(steps)), blocks, peak, total.extra, seconds)


def _best(paths: list[_Choice | None], edges: list[_Choice]) -> _Choice | None:
    """The path with the least time lost, from the paths to where each edge starts; of equal ones the least memory."""
    found = None
    for edge in edges:
        start = paths[edge.start]
        if start is not None:
            total = replace(edge, extra=start.extra + edge.extra)
            if found is None or (total.extra, total.peak) < (found.extra, found.peak):
                found = total
    return found
