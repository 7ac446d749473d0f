"""The planner of a captured module: ways to order and rewrite its calls, tried until a plan fits a budget.

Each way has a `Selector` that finds the fastest plan of its calls, and the least memory that one takes.
"""

import math
from collections.abc import Iterator
from functools import cache

from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.offloading import offload
from foldcli.autochunk.peeling import aside_bytes
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.recomputation import recompute
from foldcli.autochunk.region_selection import Selector
from foldcli.autochunk.scheduling import as_late_as_possible, duplicate_views
from foldcli.autochunk.shape_prop import ShapedGraph, propagate_shapes_like
from foldcli.autochunk.split_calls import split_calls

TOLERANCE = 0.005  # of the bisection, relative
# Of the largest value that rests: those of up to so much of it are parked in host memory, tried in this order.
PARKED = 0.5, 1.0


class Planner:
    """Finds plans for a shaped graph, once for each budget.

    donated: inputs that the plan may overwrite or free; host: bytes of host memory that values may wait in;
    block_planners: of equal blocks, which share a planner.
    """

    def __init__(
        self, shaped: ShapedGraph, donated: frozenset[int], rates: DeviceRates, mode: FakeTensorMode,
        host: float = 0.0, block_planners: dict[tuple[int, frozenset[int], float], "Planner"] | None = None,
    ) -> None:  # fmt: skip
        self.shaped, self.donated, self.rates, self.mode, self.host = shaped, donated, rates, mode, host
        self.block_planners = {} if block_planners is None else block_planners
        self.captured = Selector(self, shaped)
        self.whole = cache(self._whole)
        self.scheduled = cache(self._scheduled)
        self.recomputing = cache(self._recomputing)
        self.offloading = cache(self._offloading)
        self.fit = cache(self._fit)
        self.least = cache(self._least)

    def _scheduled(self) -> "Selector":
        """Selects from the graph after splitting and scheduling."""
        with self.mode:
            split = split_calls(self.shaped.graph, self.shaped.values)
        graph = as_late_as_possible(*duplicate_views(*split))
        return Selector(self, propagate_shapes_like(graph, self.shaped, self.mode))

    def _recomputing(self) -> "Selector":
        """Selects from the same graph with cheap values made again by each reader."""
        shaped = self.scheduled().program.shaped
        graph = as_late_as_possible(*recompute(shaped))
        if graph.calls == shaped.graph.calls:
            return self.scheduled()
        return Selector(self, propagate_shapes_like(graph, shaped, self.mode))

    def _fit(self, budget: float) -> Plan | None:
        """The fastest plan whose peak stays within `budget` bytes; None if there is none."""
        if self.whole().peak <= budget:
            return self.whole()
        return next((found.fit(budget) for found in self._selectors() if found.least(budget) <= budget), None)

    def _selectors(self) -> Iterator["Selector"]:
        """The ways to order and rewrite the calls, the one that costs least time first."""
        yield self.scheduled()
        yield self.recomputing()
        for share in PARKED if self.host else ():
            found = self.offloading(share)
            if found is not None:
                yield found

    def _offloading(self, share: float) -> "Selector | None":
        """Selects from the better of these with resting values in host memory; None if they take too much of that."""
        program = min(self.scheduled(), self.recomputing(), key=lambda found: found.least(0.0)).program
        graph, parked = offload(program, share)
        found = Selector(self, propagate_shapes_like(graph, program.shaped, self.mode), parked)
        return found if aside_bytes(found.program) <= found.host else None

    def _whole(self) -> Plan:
        """The plan without loops, with the calls in the order of capture."""
        plan = self.captured.fit(math.inf)
        assert plan is not None
        return plan

    def _least(self, above: float = 0.0) -> float:
        """The least budget that a plan fits in, in bytes; `above` if one fits in that, which is quicker to find."""
        if self.whole().peak <= above:
            return above
        best = self.whole().peak
        for selector in self._selectors():
            best = min(best, selector.least(above))
            if best <= above:
                break
        return best

    def tightest(self) -> Plan:
        """The plan of least memory; of those the fastest."""
        plan = self.fit(self.least())
        assert plan is not None
        return plan

    def within(self, slowdown: float) -> Plan:
        """The plan of least memory whose time is at most `slowdown` times that without loops, by bisection."""
        limit = slowdown * self.whole().seconds
        best = self.whole()
        low, high = self.least(), best.peak
        while high - low > TOLERANCE * high:
            plan = self.fit((low + high) / 2)
            if plan is not None and plan.seconds <= limit:
                best, high = plan, min(plan.peak, (low + high) / 2)
            else:
                low = (low + high) / 2
        return best

    def block(self, shaped: ShapedGraph, donated: frozenset[int], host: float) -> "Planner":
        """The planner for a block that may take so much host memory; equal blocks share one."""
        key = id(shaped), donated, host
        if key not in self.block_planners:
            self.block_planners[key] = Planner(shaped, donated, self.rates, self.mode, host, self.block_planners)
        return self.block_planners[key]
