"""Memory and time estimation of a peeling by its number of strips."""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from foldcli.autochunk.footprint import Footprint
from foldcli.autochunk.peeling import Peel
from foldcli.autochunk.region_search import Region

if TYPE_CHECKING:
    from foldcli.autochunk.region_cost import RegionCost

# Numbers of strips that are tried. More save next to nothing, and rows are computed anew for each.
STRIPS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class PeelEstimate:
    """What a peeling takes, by the rows of a strip."""

    def __init__(self, cost: "RegionCost", peel: Peel) -> None:
        self.cost, self.peel = cost, peel
        self.bytes = cost.program.spec(peel.output).nbytes
        self.known: dict[int, float] = {}

    def largest_chunk(self, budget: float, length: int) -> int:
        """The most rows of a strip that keep within a budget of bytes; 0 if none do."""
        return next((rows for rows in self._sizes() if self.at(rows) <= budget), 0)

    @property
    def least(self) -> float:
        """The least budget of bytes that a strip keeps within."""
        return min(map(self.at, self._sizes()))

    def _sizes(self) -> Iterator[int]:
        return (math.ceil(self.peel.length / strips) for strips in STRIPS if strips <= self.peel.length)

    def at(self, rows: int) -> float:
        """Bytes at most while the strips have so many rows."""
        if rows not in self.known:
            self.known[rows] = self._peak(rows)
        return self.known[rows]

    def _peak(self, rows: int) -> float:
        cost, peel = self.cost, self.peel
        strips = math.ceil(peel.length / rows)
        tile = self.bytes * (rows / peel.length) ** 2
        kept = [sum(cost.chunk_bytes(value, cut, rows) for value, cut in part.outputs) for part in self._parts]
        making = [cost.body_peak(part, rows) for part in self._parts]
        aside = 0 if cost.aside_on_host else (strips // 2) * ((strips + 1) // 2) * tile
        working = cost.peak_of(peel.tile, cost.tile_footprints(peel, rows))
        return cost.program.live[peel.start] + aside + sum(kept) + max(*making, max(kept) + working)

    @property
    def _parts(self) -> tuple[Region, Region]:
        return self.peel.rows, self.peel.columns

    def extra_seconds(self, rows: int, length: int) -> float:
        """Time that strips of so many rows take more than the calls do without them."""
        cost, peel = self.cost, self.peel
        strips = math.ceil(length / rows)
        again = strips * (strips + 1) / 2  # times that each strip's rows, and columns, are computed
        parts = sum(cost.body_seconds(part, rows) for part in self._parts)
        tile = sum(cost.rates.seconds(footprint) for footprint in cost.tile_footprints(peel, rows))
        # each tile is copied into its place, half of them once more, from where they were kept aside
        fetched = self.bytes // 2 if cost.aside_on_host else 0
        copies = cost.rates.seconds(Footprint(traffic=3 * self.bytes, calls=3 * strips * strips // 2, fetched=fetched))
        return again * parts + strips * strips * tile + copies - self._whole_seconds

    @cached_property
    def _whole_seconds(self) -> float:
        calls = range(self.peel.start, self.peel.stop)
        return sum(self.cost.rates.seconds(self.cost.program.shaped.footprints[index]) for index in calls)


def least_of_peel(cost: "RegionCost", peel: Peel) -> float:
    """A peak that no number of strips can go below: what is alive before, and the tiles that are kept aside."""
    aside = 0 if cost.aside_on_host else 0.24 * cost.program.spec(peel.output).nbytes
    return cost.program.live[peel.start] + aside
