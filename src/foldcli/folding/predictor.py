"""Loaded models that predict one query after another, in memory; a run writes what they predict."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from foldcli.config import FoldConfig
from foldcli.data.features.ring import in_ring
from foldcli.data.formats.input import read_input, require_foldable
from foldcli.data.query import Query
from foldcli.devices import choose_device, choose_precision
from foldcli.errors import FoldcliError, InputError
from foldcli.folding.alignments import Alignments, expected_depth
from foldcli.folding.chunking import RETRY_SHARE
from foldcli.folding.features_ahead import FeaturesAhead, Wanted
from foldcli.folding.initial_guess import InitialGuess
from foldcli.folding.job import Job
from foldcli.folding.kept import KeptPredictions
from foldcli.folding.memory import savings
from foldcli.folding.models import Source, load_model
from foldcli.folding.placement import MemoryPlacement
from foldcli.folding.predict import predict, recycled_guess
from foldcli.folding.progress import Pass, Silent, Watcher
from foldcli.folding.templates import Templates
from foldcli.model.alphafold import FoldingModel
from foldcli.model.features import Recycled
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.shard import sharded_copy
from foldcli.protein.structure import Prediction
from foldcli.report.scores import ranking_score
from foldcli.system_memory import is_lack_of_memory, reset_peak
from foldcli.timers import Timers


class Predictor:
    """Models with their weights on a device, ready to predict one query after another.

    sources: the models; settings that are no model's own are the first one's.
    """

    def __init__(self, sources: Sequence[Source], world: RankGroup, timers: Timers | None = None) -> None:
        self.sources = sources
        self.config: FoldConfig = sources[0].config
        self.device = choose_device(self.config.device)
        self.precision = choose_precision(self.config.precision, self.device)
        self.alignments = Alignments(self.config, world)
        self.templates = Templates([source.config for source in sources])
        self.guess = InitialGuess(Path(self.config.initial_guess)) if self.config.initial_guess else None
        self.models: dict[str, FoldingModel] = {}
        self.running: dict[str, FoldingModel] = {}
        self.placement = MemoryPlacement(sources, self.device, self.precision, world)
        self.group = RankGroup()
        self.timers = timers or Timers()
        self.features = FeaturesAhead()
        self.next_query: Query | None = None  # of the job that is likely to come next

    def load(self) -> None:
        """Load every model's weights; WeightsError if they do not fit the model."""
        for source in self.sources:
            with self.timers.timed(f"{source.name}_load"):
                self.models[source.name] = load_model(source, self.device, self.precision)
        self.running = self.models

    def join(self, group: RankGroup) -> None:
        """Fold the next jobs together with the ranks of this group."""
        self.group = group
        self.running = {name: sharded_copy(model, group) for name, model in self.models.items()}

    def predict(self, source: str | Path | Query, msa: str | Path | None = None) -> Prediction:
        """The best prediction for one protein: a sequence, a file with one record, or a query.

        InputError: what cannot be folded; FoldcliError: too little memory, and how much would do.
        """
        query, *others = read_input(source, msa)
        if others:
            raise InputError(f"{query.source} is one of {len(others) + 1}; predict them one by one, or fold the file")
        require_foldable(query, [source.config.model for source in self.sources])
        job = self.with_evidence(Job(query, ""))
        try:
            return self.ranked(job, Silent())[0]
        except Exception as error:
            if is_lack_of_memory(error):
                raise FoldcliError(f"{query.name}: {self.advice_on_memory(query)}") from error
            raise

    def with_evidence(self, job: Job) -> Job:
        """The job with its alignment and templates, each searched for where wanted, and remarks on the models.

        FoldcliError: a search failed.
        """
        job = replace(job, remarks=[source.remark for source in self.sources if source.remark])
        if self.alignments.wanted(job.query):
            with self.timers.timed("alignment"):
                job = self.alignments.with_alignment(job, self.group)
        if self.templates.wanted:
            with self.timers.timed("templates"):
                job = replace(job, found=self.templates.find(job.query))
        return job

    def ranked(self, job: Job, watcher: Watcher, kept: KeptPredictions | None = None) -> list[Prediction]:
        """Every model's predictions from every seed, best first; those that were kept are not made again.

        Of several ranks that share a job, only the first has those that were kept.

        Where memory runs out, the job is folded once more by a plan for RETRY_SHARE of it; if that fails for lack of
        memory too, the first error is raised. FoldcliError: the job fits neither whole nor in chunks.
        """
        try:
            return self._ranked(job, watcher, kept)
        except Exception as error:
            if not (is_lack_of_memory(error) and self.config.autochunk and self.group.size == 1):
                raise
            lack = error.with_traceback(None)  # its frames keep the first attempt's tensors alive
        try:
            return self._ranked(job, watcher, kept, RETRY_SHARE)
        except Exception as error:
            if is_lack_of_memory(error) or isinstance(error, FoldcliError):
                raise lack from None
            raise

    def advice_on_memory(self, query: Query) -> str:
        """What to do after memory ran out, as an error message."""
        depth = expected_depth(query, self.config)
        return f"out of memory; {savings(self.precision.itemsize, depth, int(self.templates.wanted))}"

    def _ranked(self, job: Job, watcher: Watcher, kept: KeptPredictions | None, share: float = 1.0) -> list[Prediction]:
        with self.timers.timed("plan"):
            models = self.placement.place(job, self.group, self.running, share)
        reset_peak(self.device)
        found = self._predictions(job, models, watcher, kept)
        return sorted(found, key=lambda prediction: ranking_score(prediction, self.config.rank_by), reverse=True)

    def _predictions(
        self, job: Job, models: Mapping[str, FoldingModel], watcher: Watcher, kept: KeptPredictions | None
    ) -> Iterator[Prediction]:
        wanted = [(source, seed) for source in self.sources for seed in source.config.seeds]
        store = kept if self.group.first and len(wanted) > 1 else None
        after: list[Wanted | None] = [Wanted(job.query, source.config, seed) for source, seed in wanted[1:]]
        for (source, seed), then in zip(wanted, [*after, self._next_job()], strict=True):
            made = store.read(source.name, seed) if store else None
            if self.group.any(made is not None):
                watcher.told(job.query.name, f"{source.name} seed {seed} was made before the run was interrupted")
            else:
                made = self._predict(source, models[source.name], job, seed, watcher, then)
                if store:
                    with self.timers.timed("keep"):
                        store.write(made)
            if made:
                yield made

    def _next_job(self) -> Wanted | None:
        """The first prediction of the next job, if its alignment is known."""
        config = self.sources[0].config
        known = self.next_query is not None and not self.alignments.wanted(self.next_query)
        return Wanted(self.next_query, config, config.seeds[0]) if self.next_query and known else None

    def _predict(
        self, source: Source, model: FoldingModel, job: Job, seed: int, watcher: Watcher, then: Wanted | None
    ) -> Prediction:
        """then: the prediction whose features are made at the end of this one."""
        query, config, label = job.query, source.config, f"{source.name}_seed_{seed:03d}"
        passes = config.num_recycle + 1
        watcher.job_started(query.name, f"{job.length} residues, {job.input_kind}, {source.name} seed {seed}", passes)

        def passed(number: int, moved: float, seconds: float) -> None:
            self.timers.add(f"{label}_pass_{number}", seconds)
            watcher.passed(query.name, Pass(source.name, seed, number, moved, seconds))

        if config.use_dropout:
            torch.manual_seed(seed)
        made = self.features.of(Wanted(query, config, seed), then)
        features = self.timers.timed_items(f"{label}_features", made)
        features = self.templates.shown(in_ring(features) if config.cyclic else features, job.found, config)
        timed, first = partial(self._timed, label), self._first_recycled(query, config)
        return predict(model, query, features, config, self.precision, seed, passed, timed, first)

    def _timed(self, label: str, phase: str) -> AbstractContextManager[None]:
        return self.timers.timed(f"{label}_{phase}")

    def _first_recycled(self, query: Query, config: FoldConfig) -> Recycled | None:
        """What the first pass recycles, None where there is no initial guess."""
        if self.guess is None:
            return None
        like = torch.empty(0, device=self.device, dtype=self.precision)
        widths = config.model.evoformer.c_m, config.model.c_z
        return recycled_guess(self.guess.positions(query), *widths, self.group.size, like)
