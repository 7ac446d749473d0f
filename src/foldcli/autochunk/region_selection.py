"""Search: the fastest plan that fits a budget of memory, and the plan of least memory within a budget of time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.plan import Loop, Plan, Whole
from foldcli.autochunk.region_cost import RegionCost
from foldcli.autochunk.region_search import MAX_REGION_CALLS, Region, candidate_regions
from foldcli.autochunk.rules_ops import split_calls
from foldcli.autochunk.scheduling import as_late_as_possible, duplicate_views
from foldcli.autochunk.shape_prop import ShapedGraph, propagate_shapes_like

TOLERANCE = 0.005
# An operand of a block counts as small if so many of its kind would take no more than the largest.
SMALL = 64


@dataclass(frozen=True)
class _Choice:
    """The best way found to the end of some calls: its seconds lost, its peak, and the last step taken."""

    extra: float
    peak: float
    start: int
    step: Whole | Loop
    block: Plan | None = None


class Planner:
    """Finds plans for a graph at given sizes; blocks that are alike are planned once for each budget."""

    def __init__(
        self, shaped: ShapedGraph, donated: frozenset[int], rates: DeviceRates, mode: FakeTensorMode,
        known: dict[tuple[int, frozenset[int]], "Planner"] | None = None,
    ) -> None:  # fmt: skip
        self.shaped, self.donated, self.rates, self.mode = shaped, donated, rates, mode
        self.known = {} if known is None else known
        self.captured = _Selector(self, shaped)
        self.whole = cache(self._whole)
        self.apart = cache(self._apart)
        self.fit = cache(self._fit)

    def _apart(self) -> "_Selector":
        """The graph with calls taken apart and put where they are needed."""
        with self.mode:
            split = split_calls(self.shaped.graph, self.shaped.values)
        graph = as_late_as_possible(*duplicate_views(*split))
        return _Selector(self, propagate_shapes_like(graph, self.shaped, self.mode))

    def _fit(self, budget: float) -> Plan | None:
        """The fastest plan whose peak stays within `budget` bytes; None if there is none."""
        if self.whole().peak <= budget:
            return self.whole()
        return self.apart().fit(budget)

    def _whole(self) -> Plan:
        """The plan without any loop."""
        plan = self.captured.fit(math.inf)
        assert plan is not None
        return plan

    def tightest(self) -> Plan:
        """The plan of least memory."""
        return self._least(lambda plan: True)

    def within(self, slowdown: float) -> Plan:
        """The plan of least memory that takes at most `slowdown` times as long."""
        limit = slowdown * self.whole().seconds
        return self._least(lambda plan: plan.seconds <= limit)

    def _least(self, good: Callable[[Plan], bool]) -> Plan:
        best = self.whole()
        low, high = 0.0, best.peak
        while high - low > TOLERANCE * high:
            plan = self.fit((low + high) / 2)
            if plan is not None and good(plan):
                best, high = plan, min(plan.peak, (low + high) / 2)
            else:
                low = (low + high) / 2
        return best

    def block(self, shaped: ShapedGraph, donated: frozenset[int]) -> "Planner":
        """The planner for a block, the same for those that are alike."""
        key = id(shaped), donated
        if key not in self.known:
            self.known[key] = Planner(shaped, donated, self.rates, self.mode, self.known)
        return self.known[key]


class _Selector:
    """One order of a graph's calls, and the shortest way through them."""

    def __init__(self, planner: Planner, shaped: ShapedGraph) -> None:
        self.planner = planner
        self.program = Program(shaped, planner.donated)
        self.slices = RegionCost(self.program, planner.rates, planner.mode)
        self.regions: Callable[[int], list[Region]] = cache(lambda stop: list(candidate_regions(self.program, stop)))
        self.seconds = [planner.rates.seconds(footprint) for footprint in shaped.footprints]

    def fit(self, budget: float) -> Plan | None:
        """Shortest path: each call is reached by itself, or at the end of a region, at the least loss of time."""
        best: list[_Choice | None] = [_Choice(0.0, self.program.live[0], 0, Whole(-1))]
        fits = [self._alone(index, budget) for index in range(len(self.program.calls))]
        misfit = [-1]  # the last call before each that does not fit alone
        for index, choice in enumerate(fits):
            misfit.append(index if choice is None else misfit[-1])
        for stop in range(1, len(fits) + 1):
            ways = [fits[stop - 1]]
            if stop - misfit[stop] <= MAX_REGION_CALLS:
                ways += self._loops(stop, misfit[stop], budget)
            best.append(_best(best, [way for way in ways if way is not None]))
        return self._plan(best) if best[-1] is not None else None

    def _alone(self, index: int, budget: float) -> _Choice | None:
        """A call by itself, None if it does not fit."""
        program, shaped = self.program, self.program.shaped
        if index not in shaped.blocks:
            peak = program.live[index] + shaped.footprints[index].peak
            return _Choice(0.0, peak, index, Whole(index)) if peak <= budget else None
        inner, given = shaped.blocks[index], self._given(index)
        operands = program.calls[index].operands
        donated = frozenset(inner.graph.inputs[operands.index(value)] for value in given)
        others = program.live[index] - sum(program.spec(value).bytes for value in given)
        plan = self.planner.block(inner, donated).fit(budget - others)
        return None if plan is None else _Choice(plan.extra, others + plan.peak, index, Whole(index), plan)

    def _given(self, index: int) -> list[int]:
        """What a block may write into: operands that end with it, but for small ones, so that more blocks are alike."""
        dying = self.program.freed_by(index)
        most = max((self.program.spec(value).bytes for value in dying), default=0)
        return [value for value in dying if SMALL * self.program.spec(value).bytes > most]

    def _loops(self, stop: int, misfit: int, budget: float) -> Iterator[_Choice]:
        """Regions that end before `stop` and have the call that does not fit alone."""
        for region in self.regions(stop):
            if region.start > misfit:
                continue
            if self.slices.least(region) > budget:
                continue
            profile = self.slices.estimate(region)
            steps = profile.most_steps(budget, region.length)
            if steps:
                steps = math.ceil(region.length / math.ceil(region.length / steps))
                extra = max(profile.extra_seconds(steps, region.length), 0.0)
                peak = max(profile.least, profile.peak.at(steps))
                yield _Choice(extra, peak, region.start, Loop(region, steps, self.slices.hoisted(region)))

    def _plan(self, best: list[_Choice | None]) -> Plan:
        steps, blocks, peak = [], {}, 0.0
        stop, total = len(best) - 1, best[-1]
        assert total is not None
        while stop:
            choice = best[stop]
            assert choice is not None
            steps.append(choice.step)
            peak = max(peak, choice.peak)
            if choice.block is not None and isinstance(choice.step, Whole):
                blocks[choice.step.index] = choice.block
            stop = choice.start
        seconds = sum(self.seconds) + total.extra
        return Plan(self.program, tuple(reversed(steps)), blocks, peak, total.extra, seconds)


def _best(before: list[_Choice | None], ways: list[_Choice]) -> _Choice | None:
    """The way whose seconds, with those up to where it starts, are least; among equals that of least memory."""
    found = None
    for way in ways:
        start = before[way.start]
        if start is not None:
            total = replace(way, extra=start.extra + way.extra)
            if found is None or (total.extra, total.peak) < (found.extra, found.peak):
                found = total
    return found
