"""`--dry-run`: memory and time that jobs would take, predicted from their sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch

from foldcli.autochunk.region_selection import Planner
from foldcli.config import ModelConfig
from foldcli.data.query import Query
from foldcli.devices import choose_device, choose_precision
from foldcli.folding.alignments import expected_depth
from foldcli.folding.chunking import blank_inputs, chunked, held_bytes, pass_budget
from foldcli.folding.job_scheduler import require_ranks
from foldcli.folding.memory import predicted_bytes, savings
from foldcli.folding.models import Source, meta_model
from foldcli.folding.run import FoldRun
from foldcli.folding.templates import takes_templates
from foldcli.search.templates import MAX_TEMPLATES
from foldcli.timers import Timers

# The least memory of a pass over N residues is taken as b·N + c·N² bytes, fitted at two lengths: a job's, and about the
# longest that fits, but not within this factor of the job's. Below this length, what does not grow takes the most.
APART, SHORTEST = 1.5, 64
# Seconds a residue to close its peptide, after the passes of a model without side chains; on one core of a processor.
CLOSING_SECONDS = 0.001


@dataclass(frozen=True)
class Forecast:
    """What a job is predicted to take with one model.

    tokens: residues; parameters: their number; whole: peak bytes without the parameters if not chunked; planned: the
    same by the plan, None if none fits; seconds: of all passes and of closing peptides; words: the plan's loops, a line
    each, or what to do where none fits; longest: residues that would fit, by number of devices like this one.
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
    """Predicts for one model, without loading its weights."""

    def __init__(self, source: Source, device: torch.device, precision: torch.dtype, budget: float) -> None:
        self.source, self.device, self.precision, self.budget = source, device, precision, budget
        self.chunked = chunked(meta_model(source.config.model, precision))
        self.planner = lru_cache(4)(self._planner)
        self.least = cache(self._least)
        self.fitted_at: dict[int, int] = {}  # by depth, the length of the first job that has it
        self.templates = MAX_TEMPLATES if takes_templates(source.config) else 0  # the most that a search may find

    def forecast(self, query: Query) -> Forecast:
        """The forecast of a query's job; lengths that fit are given for 1, 2, 4 and 8 devices."""
        depth = expected_depth(query, self.source.config)
        planner, given = self.planner(len(query.sequence), depth)
        config = self.source.config
        room = self.budget - given
        plan = planner.fit(room) if config.autochunk or planner.whole().peak <= room else None
        shown = plan or planner.whole()
        words = tuple(plan.describe()) if plan else (f"none fits; {savings(self.precision.itemsize, depth)}",)
        closing = 0.0 if config.model.side_chains else CLOSING_SECONDS * len(query.sequence)
        seconds = len(config.seeds) * ((config.num_recycle + 1) * shown.seconds + closing)
        parameters = sum(p.numel() for p in self.chunked.parameters())
        planned = None if plan is None else plan.peak + given
        sizes = len(query.sequence), depth, self.precision.itemsize, self.templates
        whole = predicted_bytes(self.source.config.model, *sizes)
        growth = self._growth(self.fitted_at.setdefault(depth, max(SHORTEST, len(query.sequence))), depth)
        longest = {ranks: self._longest(growth, ranks) for ranks in (1, 2, 4, 8)}
        return Forecast(
            query.name, self.source.name, len(query.sequence), parameters, whole, planned,
            seconds, words, longest,
        )  # fmt: skip

    def _planner(self, length: int, depth: int) -> tuple[Planner, int]:
        """The planner for a pass after the first, and the bytes of its inputs."""
        sizes = length, depth, self.device, self.precision, self.templates, self.source.config.cyclic
        inputs = blank_inputs(self.source.config.model, *sizes)
        return self.chunked.planner(*inputs), held_bytes(inputs)

    def _growth(self, length: int, depth: int) -> tuple[float, float]:
        """(b, c): the least memory for N residues is b·N + c·N² bytes."""
        least = self.least(length, depth)
        other = max(SHORTEST, round(length * (max(self.budget, 1.0) / least) ** 0.5))
        if 1 / APART < other / length < APART:
            other = 2 * length
        each = (self.least(other, depth) / other - least / length) / (other - length)
        return least / length - each * length, each

    def _least(self, length: int, depth: int) -> float:
        """The least memory that a pass over so many residues takes."""
        planner, given = self.planner(length, depth)
        return planner.least() + given

    def _longest(self, growth: tuple[float, float], ranks: int) -> int:
        """The longest sequence whose least memory, split over so many ranks, is within the budget of each."""
        b, c = growth
        return max(0, int(((b * b + 4 * c * ranks * max(0.0, self.budget)) ** 0.5 - b) / (2 * c)))


def forecasts(sources: Sequence[Source], queries: Sequence[Query]) -> list[Forecast]:
    """Forecasts of every query with every model, on the device and in the budget that the settings give.

    InputError: what a run would refuse.
    """
    config = sources[0].config
    require_ranks(config)
    FoldRun(sources, Path(), Timers()).check(queries)
    device = choose_device(config.device)
    budget = pass_budget(config, device)
    precision = choose_precision(config.precision, device)
    # Models that differ in their weights alone take the same.
    by_kind = {_kind(source): Forecaster(source, device, precision, budget) for source in sources}
    found = []
    for query in queries:
        taken = {kind: forecaster.forecast(query) for kind, forecaster in by_kind.items()}
        found += [replace(taken[_kind(source)], model=source.name) for source in sources]
    return found


def _kind(source: Source) -> ModelConfig:
    return replace(source.config.model, name="")
