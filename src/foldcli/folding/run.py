"""A run: every query through every model and seed, resumable, one bad job apart from the others."""

import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import torch

from foldcli import __version__
from foldcli.config import FoldConfig
from foldcli.data.featurize import featurize
from foldcli.data.query import Query
from foldcli.errors import FoldcliError, InputError, Interrupted
from foldcli.folding.allocator import keep_freed_memory, return_freed_memory
from foldcli.folding.job import Job
from foldcli.folding.memory import GIB, peak_bytes, require_memory, reset_peak, savings
from foldcli.folding.models import Source, choose_device, choose_precision, load_model
from foldcli.folding.output import job_folder, write_job, write_timings
from foldcli.folding.plans import TIGHTER, Plans
from foldcli.folding.predict import predict
from foldcli.folding.progress import Watcher
from foldcli.folding.record import RESULTS, SUMMARY, Record, Results, job_key, read_record, write_record
from foldcli.folding.team import Group, Team
from foldcli.folding.templates import Templates, takes_templates
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.worker import ranks_of_host
from foldcli.phases import Phases
from foldcli.protein.structure import Prediction
from foldcli.report.provenance import Provenance


class Run:
    """Folds queries into an output folder; `fold` is the whole of it."""

    def __init__(self, sources: Sequence[Source], out: Path) -> None:
        self.sources = sources
        self.out = out
        self.config: FoldConfig = sources[0].config
        self.trained = all(source.trained for source in sources)
        self.device = choose_device(self.config)
        self.precision = choose_precision(self.config, self.device)
        self.templates = Templates([source.config for source in sources])
        self.models: dict[str, AlphaFold] = {}
        self.running: dict[str, AlphaFold] = {}
        self.plans = Plans(self.config, self.device, self.precision.itemsize)
        self.team = Team.joined()
        self.group = Group()
        self.phases = Phases()

    def __str__(self) -> str:
        on = "cpu" if self.device.type == "cpu" else f"cuda ({torch.cuda.get_device_name(self.device)})"
        on = f"{self.team.size} x {on}" if self.team.size > 1 else on
        names = ", ".join(source.name for source in self.sources)
        mark = "" if self.trained else ", UNTRAINED parameters: the numbers mean nothing"
        return f"foldcli {__version__} on {on} in {str(self.precision).removeprefix('torch.')} with {names}{mark}"

    def fold(self, queries: Sequence[Query], watcher: Watcher) -> list[Record]:
        """Fold every query; the records say what became of each. A job that fails leaves the others alone.

        InputError, WeightsError: what is wrong before the first job; Interrupted: by the user, after the tables say so.
        """
        _require_foldable(queries)
        jobs = [self._job(query) for query in self._ordered(queries)]
        ended = {job.query.name: self._done_before(job) or job.record("waiting") for job in jobs}
        waiting = [job for job in jobs if ended[job.query.name].status == "waiting"]
        results = self._open(ended.values())
        self.team.meet()
        watcher.run_started(f"{self}: {len(jobs)} job{'s' * (len(jobs) > 1)}")
        for record in ended.values():
            if record.status == "done":
                watcher.job_ended(record, True)
        ended = self._fold_waiting(waiting, ended, results, watcher)
        return [ended[query.name] for query in queries]

    def _fold_waiting(
        self, jobs: Sequence[Job], ended: dict[str, Record], results: Results, watcher: Watcher
    ) -> dict[str, Record]:
        """Fold what this rank has a part in; what has become of every job, on whatever rank."""
        present: list[Job] = []
        try:
            self._load_models(jobs)
            for job in self._shared_out(jobs):
                present = [job]
                record = self._attempt(job, watcher)
                if self.group.leads:
                    ended = _announced(ended, results.add([record]), watcher)
                present = []
            self.team.meet()
        except BaseException as error:
            known = results.add([job.record("interrupted") for job in present if self.group.leads])
            if isinstance(error, KeyboardInterrupt):
                raise self._interrupted([known[name] for name in ended]) from None
            raise
        return _announced(ended, results.read(), watcher)

    def _shared_out(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """The jobs that this rank has a part in, with the ranks it shares them with."""
        shares = self.team.shares(jobs, self.config.dap, self.device.type, self._fits_one_rank)
        for self.group, share in shares:
            self.running = {name: self.group.split(model) for name, model in self.models.items()}
            yield from self.group.take(share, f"jobs of {self.group.size} ranks")

    def _job(self, query: Query) -> Job:
        return Job(query, job_key(query, self.sources, self.templates.digest, self.device.type, str(self.precision)))

    def _ordered(self, queries: Sequence[Query]) -> list[Query]:
        if self.config.sort == "none":
            return list(queries)
        return sorted(queries, key=lambda query: len(query.sequence), reverse=self.config.sort == "longest")

    def _done_before(self, job: Job) -> Record | None:
        record = None if self.config.overwrite else read_record(self.out / job.query.name)
        return record if record and record.key == job.key else None

    def _open(self, records: Collection[Record]) -> Results:
        """Make the output folder and write its tables for the first time; InputError if that cannot be done."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            results = Results(self.out)
            if self.team.first:
                results.add(records)
        except OSError as error:
            raise InputError(f"--out {self.out}: cannot be written ({error.strerror}); use another folder") from error
        except FoldcliError as error:
            raise InputError(str(error)) from error
        return results

    def _load_models(self, waiting: Sequence[Job]) -> None:
        """All models before the first job, so that a damaged file costs nobody an hour; that job's timings have it."""
        for source in self.sources if waiting else ():
            with self.phases.timed(f"{source.name}_load"):
                self.models[source.name] = load_model(source, self.device, self.precision)

    def _interrupted(self, records: Collection[Record]) -> Interrupted:
        done = sum(record.status == "done" for record in records)
        again = " without --overwrite" if self.config.overwrite else ""
        way_on = f"the same command{again} goes on with the rest"
        return Interrupted(f"interrupted: {done} of {len(records)} jobs are done, in {self.out}; {way_on}")

    def _attempt(self, job: Job, watcher: Watcher) -> Record:
        try:
            return self._fold_one(job, watcher)
        except Exception as error:  # whatever it is, the other jobs are to be folded
            if _is_lack_of_memory(error) and (record := self._more_tightly(job, watcher)):
                return record
            if self.group.size > 1 and not isinstance(error, FoldcliError):
                self._end_all(job, error)
            return job.record("failed", self._reason(error))
        finally:
            self.phases = Phases()

    def _more_tightly(self, job: Job, watcher: Watcher) -> Record | None:
        """Fold once more by a plan that takes less; None if there is none, or it is too much as well."""
        if not self.config.autochunk or self.group.size > 1:
            return None
        try:
            return self._fold_one(job, watcher, TIGHTER)
        except Exception as error:
            if _is_lack_of_memory(error) or isinstance(error, FoldcliError):
                return None
            raise

    def _end_all(self, job: Job, error: Exception) -> NoReturn:
        """Raise what one rank of a group failed with: the others wait for it and cannot go on."""
        if _is_lack_of_memory(error):
            raise FoldcliError(f"{job.query.name}: rank {self.team.rank}: {self._reason(error)}") from error
        raise error

    def _reason(self, error: Exception) -> str:
        text = " ".join(str(error).split())
        if isinstance(error, FoldcliError):
            return text
        if _is_lack_of_memory(error):
            return f"out of memory; {savings(self.precision.itemsize)}, or fold a shorter sequence"
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {text}"

    def _fold_one(self, job: Job, watcher: Watcher, share: float = 1.0) -> Record:
        start = time.perf_counter()
        self._settle_memory(job, share)
        reset_peak(self.device)
        if self.templates.wanted:
            with self.phases.timed("templates"):
                job = replace(job, hits=self.templates.find(job.query))
        ranked = sorted(self._predictions(job, watcher), key=self._score, reverse=True)
        best, peak = ranked[0], peak_bytes(self.device) / GIB
        if not self.group.leads:
            return job.record("done")
        with job_folder(self.out, job.query.name, self.config.overwrite) as folder:
            with self.phases.timed("write"):
                write_job(folder, job.query, [(prediction, self._provenance(prediction, job)) for prediction in ranked])
            write_timings(folder, self.phases.seconds)
            record = replace(
                job.record("done"), model=best.model, seed=best.seed, plddt=best.mean_plddt, ptm=best.ptm,
                templates=job.templates, memory_gib=peak, seconds=time.perf_counter() - start, trained=self.trained,
                files=sorted(path.name for path in folder.iterdir()),
            )  # fmt: skip
            write_record(folder, record)
        return record

    def _settle_memory(self, job: Job, share: float) -> None:
        """FoldcliError if the job does not fit, in slices neither; where it fits twice, trade memory for speed.

        share: of what is free, below 1 when that was too much.
        """
        return_freed_memory()
        self.plans.clear()
        room, lack = 0.0, None
        try:
            room = self._room(job, self.group.size)
        except FoldcliError as error:
            lack = error
        if self.group.size == 1 and self.config.autochunk and (lack or share < 1 or self.plans.wanted):
            self.plans.fit(self.models, job.length, job.depth, share)
            return
        if self.group.any(lack is not None):
            raise lack or FoldcliError("another rank has too little free memory for it; fold a shorter sequence")
        if room > 2:
            keep_freed_memory()

    def _room(self, job: Job, ranks: int) -> float:
        """How many times the job, split over so many ranks, fits into what is free; FoldcliError if not once."""
        beside = ranks_of_host() if self.device.type == "cpu" and self.team.size > 1 else 1
        width, share = self.precision.itemsize, beside / ranks
        configs = [source.config.model for source in self.sources]
        return min(require_memory(config, job.length, job.depth, width, self.device, share) for config in configs)

    def _fits_one_rank(self, job: Job) -> bool:
        try:
            return self._room(job, 1) >= 1
        except FoldcliError:
            return False

    def _score(self, prediction: Prediction) -> float:
        ptm = prediction.ptm if self.config.rank_by == "ptm" else None
        return prediction.mean_plddt if ptm is None else ptm

    def _predictions(self, job: Job, watcher: Watcher) -> Iterator[Prediction]:
        first = self.config.random_seed
        for source in self.sources:
            for seed in range(first, first + self.config.num_seeds):
                yield self._predict(source, job, seed, watcher)

    def _predict(self, source: Source, job: Job, seed: int, watcher: Watcher) -> Prediction:
        query, config, label = job.query, source.config, f"{source.name}_seed_{seed:03d}"
        detail, passes = f"{source.name} seed {seed}", config.num_recycle + 1
        watcher.job_started(query.name, f"{len(query.sequence)} residues, {job.input_kind}, {detail}", passes)

        def passed(number: int, moved: float, seconds: float) -> None:
            self.phases.add(f"{label}_pass_{number}", seconds)
            watcher.passed(query.name, f"{detail} pass {number}: moved {moved:.2f} A, {seconds:.1f} s")

        features = self.phases.making(f"{label}_features", featurize(query, config.model.msa, seed, passes))
        features = self.templates.shown(features, job.hits, job.length, config)
        model = self.plans.model(source.name, self.running[source.name])
        return predict(model, query, features, config, seed, passed)

    def _provenance(self, prediction: Prediction, job: Job) -> Provenance:
        source = next(source for source in self.sources if source.name == prediction.model)
        return Provenance(
            name=job.query.name, title=job.query.title, version=__version__, parameters=source.parameters,
            trained=source.trained, depth=job.depth,
            templates=tuple(job.templates) if takes_templates(source.config) else (),
        )  # fmt: skip


def _announced(before: dict[str, Record], known: dict[str, Record], watcher: Watcher) -> dict[str, Record]:
    """What is known now of the jobs there were before; the watcher hears of those that have ended since."""
    now = {name: known[name] for name in before}
    for name, record in now.items():
        if record != before[name] and record.status in ("done", "failed"):
            watcher.job_ended(record, False)
    return now


def _is_lack_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _require_foldable(queries: Sequence[Query]) -> None:
    """InputError for a record that no model can place, or whose folder would stand where a table does."""
    for query in queries:
        if set(query.sequence) == {"X"}:
            raise InputError(f"{query.source} ({query.name}) has only X; give at least one residue that is known")
        if query.name in (RESULTS, SUMMARY):
            raise InputError(f"{query.source} is named '{query.name}', as a table of the results is; give another name")
