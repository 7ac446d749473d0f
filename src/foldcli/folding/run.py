"""A run folds every query with every model and seed; it can be resumed, and outlives a job that fails."""

import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import torch

from foldcli import __version__
from foldcli.byte_units import GIB
from foldcli.config import FoldConfig
from foldcli.data.formats.input import require_foldable
from foldcli.data.query import Query
from foldcli.devices import choose_device
from foldcli.errors import FoldcliError, InputError, Interrupted
from foldcli.folding.archive import zip_file
from foldcli.folding.job import Job
from foldcli.folding.job_locks import JobLocks
from foldcli.folding.job_report import methods_of, settings_of
from foldcli.folding.job_scheduler import JobScheduler, take_jobs
from foldcli.folding.kept import KeptPredictions
from foldcli.folding.kernels_ahead import KernelsAhead
from foldcli.folding.models import Source
from foldcli.folding.predictor import Predictor
from foldcli.folding.progress import Watcher
from foldcli.folding.record import Record, job_key, read_record
from foldcli.folding.relax import require_openmm, require_relaxable
from foldcli.folding.results import INDEX, RESULTS, SUMMARY, Results
from foldcli.folding.tally import Tally
from foldcli.folding.templates import takes_templates
from foldcli.folding.writing import Folded, WritingThread, archive_job, write_folded
from foldcli.parallel.mesh import RankGroup, RankMesh, world_group
from foldcli.protein.structure import Prediction
from foldcli.report.pdb import LAST_RESIDUE
from foldcli.report.plots import load_matplotlib
from foldcli.report.provenance import Provenance, ascii_line
from foldcli.system_memory import is_lack_of_memory, peak_bytes
from foldcli.timers import Timers

SMALLEST_RING = 3  # residues


class FoldRun:
    """Folds queries into an output folder; call `fold`."""

    def __init__(self, sources: Sequence[Source], out: Path, timers: Timers) -> None:
        self.sources = sources
        self.out = out
        self.config: FoldConfig = sources[0].config
        if self.config.relax != "none":
            require_openmm(f"--relax {self.config.relax}")
        self.trained = all(source.trained for source in sources)
        self.world = world_group()
        self.locks = JobLocks(out)
        self.scheduler = JobScheduler(self.world)
        self.predictor = Predictor(sources, self.world, timers)
        self.writing = WritingThread()
        self.kernels = KernelsAhead(sources, self.predictor.device, self.predictor.precision)
        self.too_large: set[str] = set()

    def __str__(self) -> str:
        device, precision = self.predictor.device, self.predictor.precision
        on = "cpu" if device.type == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})"
        on = f"{self.world.size} x {on}" if self.world.size > 1 else on
        names = ", ".join(source.name for source in self.sources)
        mark = "" if self.trained else ", UNTRAINED parameters: the numbers mean nothing"
        return f"foldcli {__version__} on {on} in {str(precision).removeprefix('torch.')} with {names}{mark}"

    def check(self, queries: Sequence[Query]) -> None:
        """InputError for what `fold` would refuse before the first job, but that parameters and folder may be wrong."""
        _require_foldable(queries, [source.config for source in self.sources])
        for query in queries:
            self._evidence(query)

    def fold(self, queries: Sequence[Query], watcher: Watcher) -> list[Record]:
        """Fold every query; one record each, in their order, with the error of a job that failed.

        InputError, WeightsError: something is wrong, before the first job; Interrupted: Ctrl-C, tables written.
        """
        _require_foldable(queries, [source.config for source in self.sources])
        if self.config.offload and self.predictor.device.type == "cpu":
            raise InputError(
                f"--offload {self.config.offload}: on the CPU all memory is the host's; leave it out, or add --dry-run"
            )
        jobs = [self._job(query) for query in self._ordered(queries)]
        ended = {job.query.name: self._done_before(job) or job.record("waiting") for job in jobs}
        waiting = [job for job in jobs if ended[job.query.name].status == "waiting"]
        tally = Tally(ended, self._open(ended.values()), watcher)
        self._forget_kept([job for job in jobs if ended[job.query.name].status == "done"])
        self.world.barrier()
        watcher.run_started(str(self), len(jobs))
        for record in ended.values():
            if record.status == "done":
                if self.world.first and self.config.zip and not zip_file(self.out / record.job).exists():
                    archive_job(self.out / record.job, True)
                watcher.job_ended(record, True)
        self._fold_waiting(waiting, tally, watcher)
        return [tally.records[query.name] for query in queries]

    def _fold_waiting(self, jobs: Sequence[Job], tally: Tally, watcher: Watcher) -> None:
        """Fold the jobs that this rank takes part in; the tally then has all records, of other ranks' jobs too."""
        present: list[Job] = []
        alone = self.world.size == 1  # else other ranks may take the next job
        following = {one.query.name: then.query for one, then in pairwise(jobs)} if alone else {}
        self.predictor.timers.add_rest("start")
        try:
            if jobs:  # all models first: a damaged parameter file is found before an hour of work
                self.kernels.begin(jobs, self.world.size)
                self.writing.begin(load_matplotlib)
                self.predictor.load()
            for job in self._assigned_jobs(jobs, watcher):
                present = [job]
                self.predictor.timers.add_rest("between_jobs")
                self.predictor.next_query = following.get(job.query.name)
                self._finish(job, self._done_meanwhile(job) or self._attempt(job, watcher), tally)
                self.predictor.timers, present = Timers(), []
            self.writing.wait()
            self.world.barrier()
        except BaseException as error:
            self.writing.wait()  # what is folded is not lost
            present = [job for job in present if tally.records[job.query.name].status == "waiting"]
            tally.add([job.record("interrupted") for job in present if self.predictor.group.first])
            if isinstance(error, KeyboardInterrupt):
                raise self._interrupted(tally.records.values()) from None
            raise
        finally:
            self.predictor.alignments.close()
            self.writing.close()
            self.kernels.close()
            self.locks.release_all()
        tally.read()

    def _assigned_jobs(self, jobs: Sequence[Job], watcher: Watcher) -> Iterator[Job]:
        """Yield the jobs that this rank takes part in; before each, the predictor joins the ranks that share it."""
        predictor, kind = self.predictor, self.predictor.device.type
        for mesh, share in self.scheduler.assign(jobs, self.config.dap, kind, predictor.placement.fits_one_rank):
            yield from self._jobs_of(mesh, share, f"jobs of {mesh.axial.size} ranks", watcher)
        too_large = [place for place, job in enumerate(jobs) if job.query.name in self.too_large]
        for mesh, share in self.scheduler.reassign(jobs, too_large, kind):
            yield from self._jobs_of(mesh, share, "jobs once more", watcher)

    def _jobs_of(self, mesh: RankMesh, share: Sequence[Job], queue: str, watcher: Watcher) -> Iterator[Job]:
        self.predictor.join(mesh.axial)
        coming = self.predictor.alignments.ahead(take_jobs(share, mesh, queue), mesh.axial.first, watcher)
        yield from self.locks.locked(coming, mesh.axial, partial(_tell_held, watcher))

    def _job(self, query: Query) -> Job:
        on = self.predictor
        return Job(query, job_key(query, self.sources, self._evidence(query), on.device.type, str(on.precision)))

    def _evidence(self, query: Query) -> list[str]:
        """Fingerprints of what a query is folded with; InputError if that cannot be used for it."""
        on = self.predictor
        return [source.digest(query) for source in (on.alignments, on.templates, on.guess) if source]

    def _ordered(self, queries: Sequence[Query]) -> list[Query]:
        if self.config.sort == "none":
            return list(queries)
        return sorted(queries, key=lambda query: len(query.sequence), reverse=self.config.sort == "longest")

    def _done_before(self, job: Job) -> Record | None:
        record = None if self.config.overwrite else read_record(self.out / job.query.name)
        return record if record and record.key == job.key else None

    def _done_meanwhile(self, job: Job) -> Record | None:
        """The record of a job that another process has finished since this one began."""
        group = self.predictor.group
        record = self._done_before(job) if group.first else None
        return (record or job.record("done")) if group.any(record is not None) else None

    def _forget_kept(self, done: Sequence[Job]) -> None:
        """Remove kept predictions of jobs that are done, left where a process was killed at its very end."""
        for job in done:
            kept = KeptPredictions(self.out, job)
            if self.world.first and kept.folder.exists() and self.locks.take(job, RankGroup()):
                kept.remove()
                self.locks.release(job)

    def _open(self, records: Collection[Record]) -> Results:
        """Make the output folder and write its tables for the first time; InputError if that cannot be done."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            results = Results(self.out)
            if self.world.first:
                results.add(records)
        except OSError as error:
            raise InputError(f"--out {self.out}: cannot be written ({error.strerror}); use another folder") from error
        except FoldcliError as error:
            raise InputError(str(error)) from error
        return results

    def _interrupted(self, records: Collection[Record]) -> Interrupted:
        done = sum(record.status == "done" for record in records)
        again = " without --overwrite" if self.config.overwrite else ""
        way_on = f"the same command{again} goes on with the rest"
        return Interrupted(f"interrupted: {done} of {len(records)} jobs are done, in {self.out}; {way_on}")

    def _attempt(self, job: Job, watcher: Watcher) -> Folded | Record:
        """What a job's files are written from; else its record, of one that failed or that another rank writes."""
        try:
            return self._fold_one(job, watcher) or job.record("done")
        except Exception as error:  # whatever it is, the other jobs are folded
            if self.predictor.group.size > 1 and not isinstance(error, FoldcliError):
                self._end_all(job, error)
            if is_lack_of_memory(error) and self.scheduler.can_reassign and not self.config.dap:
                self.too_large.add(job.query.name)
                return job.record("waiting")
            return job.record("failed", self._reason(job, error))

    def _finish(self, job: Job, result: Folded | Record, tally: Tally) -> None:
        """Have a job's files written in a thread of their own, once those of the job before are; else end it."""
        with self.predictor.timers.timed("wait_for_files"):
            self.writing.wait()
        if isinstance(result, Record):
            if self.predictor.group.first:
                tally.add([result])
            self.locks.release(job)
            return
        self.writing.begin(partial(self._write, result, tally))
        # OpenMM wants all cores, or much of the GPU's memory; and a rank that dies ends the others at once.
        if self.config.relax != "none" or self.world.size > 1:
            self.writing.wait()

    def _write(self, folded: Folded, tally: Tally) -> None:
        """Write a job's files, and end it once they are whole."""
        try:
            record = write_folded(self.out, folded, self.config)
        except Exception as error:
            record = folded.job.record("failed", self._reason(folded.job, error))
        tally.add([record])
        self.locks.release(folded.job)

    def _end_all(self, job: Job, error: Exception) -> NoReturn:
        """Raise the error of one rank of a group: its peers wait for it, so the whole run must end."""
        if is_lack_of_memory(error):
            raise FoldcliError(f"{job.query.name}: rank {self.world.rank}: {self._reason(job, error)}") from error
        raise error

    def _reason(self, job: Job, error: Exception) -> str:
        text = " ".join(str(error).split())
        if isinstance(error, FoldcliError):
            return text
        if is_lack_of_memory(error):
            return self.predictor.advice_on_memory(job.query)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {text}"

    def _fold_one(self, job: Job, watcher: Watcher) -> Folded | None:
        """The folded job on the first of the ranks that share it, None on the others."""
        start, on = time.perf_counter(), self.predictor
        job = on.with_evidence(job)
        ranked = on.ranked(job, watcher, KeptPredictions(self.out, job))
        if not on.group.first:
            return None
        return Folded(
            job, [(prediction, self._provenance(prediction, job)) for prediction in ranked], settings_of(on),
            list(methods_of(job, on)), on.timers, start, peak_bytes(on.device) / GIB, on.device.type == "cuda",
        )  # fmt: skip

    def _provenance(self, prediction: Prediction, job: Job) -> Provenance:
        source = next(source for source in self.sources if source.name == prediction.model)
        templates = tuple(job.templates) if takes_templates(source.config) else ()
        return Provenance(
            name=job.query.name, title=job.query.title, version=__version__, trained=source.trained, depth=job.depth,
            parameters=source.parameters(job.depth, len(templates)), templates=templates,
            given=tuple(map(ascii_line, self.config.given)),
        )  # fmt: skip


def _tell_held(watcher: Watcher, job: Job) -> None:
    watcher.told(job.query.name, "another process folds it into this folder; waiting for that one to end")


def _require_foldable(queries: Sequence[Query], configs: Sequence[FoldConfig]) -> None:
    """InputError for a sequence that no model can fold or number, or a name that one of the run's tables has."""
    cyclic, first_residue, relax = configs[0].cyclic, configs[0].first_residue, configs[0].relax
    cuda = choose_device(configs[0].device).type == "cuda"
    for query in queries:
        require_foldable(query, [config.model for config in configs])
        if relax != "none":
            require_relaxable(f"{query.source} ({query.name}): --relax {relax}", list(map(len, query.chains)), cuda)
        if cyclic and query.chain_lengths:
            raise InputError(f"{query.source} ({query.name}): --cyclic folds a single chain, and this is a complex")
        if cyclic and len(query.sequence) < SMALLEST_RING:
            raise InputError(f"{query.source} ({query.name}): --cyclic needs {SMALLEST_RING} residues or more")
        last = first_residue + max(map(len, query.chains)) - 1
        if first_residue != 1 and last > LAST_RESIDUE:
            raise InputError(
                f"{query.source} ({query.name}): --first-residue {first_residue}: the last residue has number {last}, "
                f"and PDB files count to {LAST_RESIDUE}"
            )
        if query.name in (RESULTS, SUMMARY, INDEX):
            raise InputError(f"{query.source} is named '{query.name}', as a table of the results is; give another name")
