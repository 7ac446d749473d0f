"""`--dry-run`: memory and time that jobs would take, predicted from their sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path

import torch

from foldcli.autochunk.planner import Planner
from foldcli.config import ModelConfig
from foldcli.data.query import Query
from foldcli.devices import choose_device, choose_precision
from foldcli.folding.alignments import expected_depth
from foldcli.folding.chunking import BUDGET_SHARE, blank_inputs, chunked, held_bytes, pass_budget, rounded
from foldcli.folding.job_scheduler import is_split, require_ranks
from foldcli.folding.memory import predicted_bytes, savings
from foldcli.folding.models import Source, meta_model
from foldcli.folding.run import FoldRun
from foldcli.folding.templates import takes_templates
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.shard import shard
from foldcli.search.templates import MAX_TEMPLATES
from foldcli.timers import Timers

# The least memory of a pass over N residues is taken as b·N + c·N² bytes, fitted at two lengths: a job's, and about the
# longest that fits, but not within this factor of the job's. Below this length, what does not grow takes the most.
APART, SHORTEST = 1.5, 64
# Seconds a residue to close its peptide, after the passes of a model without side chains; on one core of a processor.
CLOSING_SECONDS = 0.001


@dataclass(frozen=True)
class Forecast:
    """What a job is predicted to take with one model, on each of the ranks that share it.

    tokens: residues; parameters: their number; whole: peak bytes without the parameters if not chunked; planned: the
    same by the plan, None if none fits; seconds: of all passes and of closing peptides, without communication; words:
    the plan's loops, a line each, or what to do where none fits; longest: residues that would fit, by number of ranks.
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
    """Predicts for one model on one rank of several that share a job, without loading the model's weights."""

    def __init__(
        self, source: Source, device: torch.device, precision: torch.dtype, budget: float, ranks: int = 1
    ) -> None:
        self.source, self.device, self.precision, self.budget, self.ranks = source, device, precision, budget, ranks
        model = shard(meta_model(source.config.model, precision), RankGroup(size=ranks))
        self.chunked = chunked(model, source.config.offload_bytes)
        self.planner = lru_cache(4)(self._planner)
        self.least = cache(self._least)
        self.fitted_at: dict[int, int] = {}  # by depth, the length of the first job that has it
        self.templates = MAX_TEMPLATES if takes_templates(source.config) else 0  # the most that a search may find

    def forecast(self, query: Query) -> Forecast:
        """The forecast of a query's job."""
        depth = expected_depth(query, self.source.config)
        planner, given = self.planner(len(query.sequence), depth)
        config = self.source.config
        room = self.budget - given
        plan = planner.fit(room) if config.autochunk or planner.whole().peak <= room else None
        shown = plan or planner.whole()
        advice = savings(self.precision.itemsize, depth, self.templates)
        words = tuple(plan.describe()) if plan else (f"none fits; {advice}",)
        closing = 0.0 if config.model.side_chains else CLOSING_SECONDS * len(query.sequence)
        seconds = len(config.seeds) * ((config.num_recycle + 1) * shown.seconds + closing)
        parameters = sum(p.numel() for p in self.chunked.parameters())
        planned = None if plan is None else plan.peak + given
        sizes = len(query.sequence), depth, self.precision.itemsize, self.templates
        whole = predicted_bytes(self.source.config.model, *sizes) / self.ranks
        return Forecast(
            query.name, self.source.name, len(query.sequence), parameters, whole, planned,
            seconds, words, {self.ranks: self.longest(query)},
        )  # fmt: skip

    def _planner(self, length: int, depth: int) -> tuple[Planner, int]:
        """The planner for a pass after the first, and the bytes of its inputs."""
        sizes = length, depth, self.device, self.precision, self.templates, self.source.config.cyclic, self.ranks
        inputs = blank_inputs(self.source.config.model, *sizes)
        return self.chunked.planner(*inputs), held_bytes(inputs)

    def _growth(self, length: int, depth: int) -> tuple[float, float]:
        """(b, c): the least memory for N residues is b·N + c·N² bytes."""
        least = self.least(length, depth)
        other = max(SHORTEST, round(length * (max(self.budget, 1.0) / least) ** 0.5))
        if 1 / APART < other / length < APART:
            other = 2 * length
        other += (length - other) % self.ranks  # padded alike, the captured graph holds there too
        each = (self.least(other, depth) / other - least / length) / (other - length)
        return least / length - each * length, each

    def _least(self, length: int, depth: int) -> float:
        """The least memory that a pass over so many residues takes."""
        planner, given = self.planner(length, depth)
        return planner.least() + given

    def longest(self, query: Query) -> int:
        """The longest sequence whose least memory is within the budget, at the depth of a query's alignment."""
        depth = expected_depth(query, self.source.config)
        b, c = self._growth(self.fitted_at.setdefault(depth, max(SHORTEST, len(query.sequence))), depth)
        return max(0, int(((b * b + 4 * c * max(0.0, self.budget)) ** 0.5 - b) / (2 * c)))


def forecasts(sources: Sequence[Source], queries: Sequence[Query]) -> list[Forecast]:
    """Forecasts of every query with every model, on the device and in the budget that the settings give.

    InputError: what a run would refuse.
    """
    config = sources[0].config
    require_ranks(config)
    FoldRun(sources, Path(), Timers()).check(queries)
    device = choose_device(config.device)
    sharing = config.gpus if device.type == "cpu" else 1
    # A budget may be more than this machine has: that of another machine.
    budget = rounded(BUDGET_SHARE * config.memory_budget_bytes) or pass_budget(config, device, sharing)
    precision = choose_precision(config.precision, device)

    @cache  # models that differ in their weights alone take the same
    def forecaster(kind: ModelConfig, ranks: int) -> Forecaster:
        source = next(source for source in sources if _kind(source) == kind)
        return Forecaster(source, device, precision, budget, ranks)

    found = []
    for query in queries:
        taken = {kind: _taken(partial(forecaster, kind), query, len(queries)) for kind in set(map(_kind, sources))}
        found += [replace(taken[_kind(source)], model=source.name) for source in sources]
    return found


def _taken(on: Callable[[int], Forecaster], query: Query, jobs: int) -> Forecast:
    """What a query's job takes on each of the ranks that share it; on: the forecaster for a number of ranks."""
    alone, config = on(1), on(1).source.config
    if config.gpus == 1:
        return alone.forecast(query)
    sizes = len(query.sequence), expected_depth(query, config), alone.precision.itemsize, alone.templates
    fits = predicted_bytes(config.model, *sizes) <= alone.budget
    split = is_split(len(query.sequence), jobs, config.gpus, fits)
    shared = on(config.dap or config.gpus)
    taken = (shared if split or config.dap else alone).forecast(query)
    return replace(taken, longest={one.ranks: one.longest(query) for one in dict.fromkeys((alone, shared))})


def _kind(source: Source) -> ModelConfig:
    return replace(source.config.model, name="")
