"""What jobs would take, predicted from the sizes alone before any heavy work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch

from foldcli.autochunk import Chunked
from foldcli.autochunk.region_selection import Planner
from foldcli.data.query import Query
from foldcli.devices import choose_device, choose_precision
from foldcli.folding.alignments import expected_depth
from foldcli.folding.chunking import FREE_SHARE, blank_inputs, held_bytes
from foldcli.folding.memory import available_bytes, predicted_bytes
from foldcli.folding.models import Source
from foldcli.model.alphafold import AlphaFold

# The least memory grows by so much a residue and so much a pair: found at these lengths.
LENGTHS = (384, 1024)


@dataclass(frozen=True)
class Forecast:
    """What a job is predicted to take with one model: bytes beside the parameters, seconds of all its passes.

    planned: None where no plan fits; longest: residues that would fit so many devices like this one.
    """

    job: str
    model: str
    tokens: int
    parameters: int
    whole: float
    planned: float | None
    seconds: float
    words: tuple[str, ...]
    longest: Mapping[int, int]


class Forecaster:
    """Predicts for one model, without its parameters' numbers; how memory grows is found once for each depth."""

    def __init__(self, source: Source, device: torch.device, precision: torch.dtype, budget: float) -> None:
        self.source, self.device, self.precision, self.budget = source, device, precision, budget
        with torch.device("meta"):
            self.model = AlphaFold(source.config.model).eval().requires_grad_(False)
        self.model.trunk.to(precision)
        self.chunked = Chunked(self.model, lambda planner: planner.tightest())
        self.growth = cache(self._growth)

    def forecast(self, query: Query) -> Forecast:
        """What a job takes whole and by plan, and the longest that would fit 1, 2, 4 and 8 devices like this one."""
        depth = expected_depth(query, self.source.config)
        planner, given = self._planner(len(query.sequence), depth)
        plan = planner.fit(self.budget - given)
        shown = plan or planner.whole()
        passes = (self.source.config.num_recycle + 1) * self.source.config.num_seeds
        parameters = sum(p.numel() for p in self.model.parameters())
        planned = None if plan is None else plan.peak + given
        whole = predicted_bytes(self.source.config.model, len(query.sequence), depth, self.precision.itemsize)
        longest = {ranks: self._longest(depth, ranks) for ranks in (1, 2, 4, 8)}
        return Forecast(
            query.name, self.source.name, len(query.sequence), parameters, whole, planned,
            passes * shown.seconds, tuple(shown.describe()), longest,
        )  # fmt: skip

    def _planner(self, length: int, depth: int) -> tuple[Planner, int]:
        """What finds plans for a later pass, and the bytes of its inputs."""
        inputs = blank_inputs(self.source.config.model, length, depth, self.device, self.precision)
        return self.chunked.planner(*inputs), held_bytes(inputs)

    def _growth(self, depth: int) -> tuple[float, float]:
        """Bytes that the least memory grows by, for each residue and for each pair."""
        low, high = (
            (planner.tightest().peak + given) / length
            for length in LENGTHS for planner, given in [self._planner(length, depth)]
        )  # fmt: skip
        each = (high - low) / (LENGTHS[1] - LENGTHS[0])
        return low - each * LENGTHS[0], each

    def _longest(self, depth: int, ranks: int) -> int:
        """The longest sequence whose least memory, shared by ranks, fits the budget of each."""
        b, c = self.growth(depth)
        return max(0, int(((b * b + 4 * c * ranks * max(0.0, self.budget)) ** 0.5 - b) / (2 * c)))


def forecasts(sources: Sequence[Source], queries: Sequence[Query]) -> list[Forecast]:
    """Of every query with every model, on the device and within the budget that they would be folded with."""
    config = sources[0].config
    device = choose_device(config.device)
    budget = config.memory_budget_bytes or FREE_SHARE * (available_bytes(device) or 0)
    each = [Forecaster(source, device, choose_precision(config.precision, device), budget) for source in sources]
    return [forecaster.forecast(query) for query in queries for forecaster in each]
