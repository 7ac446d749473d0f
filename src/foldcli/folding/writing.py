"""The files of a folded job, and a thread that writes them while the next job is folded."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from foldcli.config import FoldConfig
from foldcli.folding.archive import zip_file, zip_job
from foldcli.folding.job import Job
from foldcli.folding.job_report import write_report
from foldcli.folding.kept import KeptPredictions
from foldcli.folding.output import job_folder, write_job, write_plots, write_timings
from foldcli.folding.record import Record, write_record
from foldcli.folding.relax import relax_ranked
from foldcli.protein.structure import Prediction
from foldcli.report.provenance import Provenance
from foldcli.timers import Timers


@dataclass(frozen=True)
class Folded:
    """A job that was folded, with all that its files are written from.

    ranked: its predictions, the best first; settings, methods: what its report lists and cites; timers: of its phases;
    began: when, by time.perf_counter; memory_gib: as in its record; cuda: whether OpenMM may take the GPU.
    """

    job: Job
    ranked: Sequence[tuple[Prediction, Provenance]]
    settings: Mapping[str, object]
    methods: Sequence[str]
    timers: Timers
    began: float
    memory_gib: float
    cuda: bool


def write_folded(out: Path, folded: Folded, config: FoldConfig) -> Record:
    """Write all files of a job into the output folder, and remove its kept predictions; the record of the job.

    FoldcliError: a file cannot be written, and there is no folder of the job.
    """
    job, shown, timers = folded.job, folded.ranked, folded.timers
    predictions = [prediction for prediction, _ in shown]
    with job_folder(out, job.query.name, config.overwrite) as folder:
        with timers.timed("write"):
            limits = write_job(folder, job.query, job.a3m, shown, config.rank_by, config.pae)
        with timers.timed("plots"):
            write_plots(folder, job.query, predictions)
        relaxed = list(relax_ranked(folder, shown, config.relax, folded.cuda, timers))
        job = replace(job, remarks=[*job.remarks, *limits], relaxed=relaxed)
        write_timings(folder, timers)  # now for the report, which lists it, and again with the report's own time
        with timers.timed("report"):
            write_report(folder, job, shown, folded.settings, folded.methods, timers.seconds)
        write_timings(folder, timers)
        record = _record(folder, job, folded, all(one.trained for _, one in shown))
        write_record(folder, record)
    KeptPredictions(out, job).remove()
    archive_job(out / record.job, config.zip)
    return record


def _record(folder: Path, job: Job, folded: Folded, trained: bool) -> Record:
    best, _ = folded.ranked[0]
    return replace(
        job.record("done"), model=best.model, seed=best.seed, plddt=best.mean_plddt, ptm=best.ptm, iptm=best.iptm,
        templates=job.templates, notes=job.notes, memory_gib=folded.memory_gib, trained=trained,
        seconds=time.perf_counter() - folded.began, files=sorted(path.name for path in folder.iterdir()),
    )  # fmt: skip


def archive_job(folder: Path, wanted: bool) -> None:
    """Write the zip file of a job's folder where it is wanted, else remove that of the folder which it replaced."""
    if wanted:
        zip_job(folder)
    else:
        zip_file(folder).unlink(missing_ok=True)


class WritingThread:
    """Does one piece of work at a time, beside what the thread that gives it does."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "writing")
        self._latest: Future[None] = Future()
        self._latest.set_result(None)

    def begin(self, work: Callable[[], None]) -> None:
        """Have this done next; the work before must have been waited for, so that no more than one job is held."""
        self._latest = self._thread.submit(work)

    def wait(self) -> None:
        """Return once the latest work is done; what it raised is raised here, once."""
        latest, self._latest = self._latest, Future()
        self._latest.set_result(None)
        latest.result()

    def close(self) -> None:
        self._thread.shutdown(wait=False)
