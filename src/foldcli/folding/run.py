"""A run: every query through every model and seed, resumable, one bad job apart from the others."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from foldcli import __version__
from foldcli.config import FoldConfig
from foldcli.data.featurize import featurize
from foldcli.data.query import Query
from foldcli.errors import FoldcliError, InputError
from foldcli.folding.memory import GIB, peak_bytes, require_memory, reset_peak
from foldcli.folding.models import Source, choose_device, choose_precision, load_model
from foldcli.folding.output import job_folder, write_job
from foldcli.folding.predict import predict
from foldcli.folding.progress import Watcher
from foldcli.folding.record import Record, Results, job_key, read_record, write_record
from foldcli.model.alphafold import AlphaFold
from foldcli.protein.structure import Prediction
from foldcli.report.provenance import Provenance


@dataclass(frozen=True)
class Job:
    """A query and the hash of what it is folded with."""

    query: Query
    key: str

    def record(self, status: str) -> Record:
        alignment = self.query.alignment
        depth = alignment.depth if alignment else 1
        return Record(self.query.name, status, len(self.query.sequence), depth, key=self.key)


class Run:
    """Folds queries into an output folder; `fold` is the whole of it."""

    def __init__(self, sources: Sequence[Source], out: Path) -> None:
        self.sources = sources
        self.out = out
        self.config: FoldConfig = sources[0].config
        self.device = choose_device(self.config)
        self.precision = choose_precision(self.config, self.device)
        self._loaded: dict[str, AlphaFold] = {}
        self.timings: dict[str, float] = {}

    def fold(self, queries: Sequence[Query], watcher: Watcher) -> list[Record]:
        """Fold every query; the records say what became of each. A job that fails leaves the others alone."""
        _require_writable(self.out)
        results = Results(self.out)
        jobs = [self._job(query) for query in self._ordered(queries)]
        ended = {job.query.name: job.record("waiting") for job in jobs}
        for job in jobs:
            record = None if self.config.overwrite else self._done_before(job)
            skipped = record is not None
            record = record or self._attempt(job, watcher)
            watcher.job_ended(record, skipped)
            ended[job.query.name] = record
            results.add(*ended.values())
        return [ended[query.name] for query in queries]

    def _job(self, query: Query) -> Job:
        return Job(query, job_key(query, self.sources, self.device.type, str(self.precision)))

    def _ordered(self, queries: Sequence[Query]) -> list[Query]:
        if self.config.sort == "none":
            return list(queries)
        return sorted(queries, key=lambda query: len(query.sequence), reverse=self.config.sort == "longest")

    def _done_before(self, job: Job) -> Record | None:
        record = read_record(self.out / job.query.name)
        return record if record and record.key == job.key else None

    def _attempt(self, job: Job, watcher: Watcher) -> Record:
        try:
            return self._fold_one(job, watcher)
        except (torch.OutOfMemoryError, MemoryError):
            error = "out of memory; try --precision bf16, fewer alignment rows (model.msa.max_extra=N) or a shorter sequence"
        except RuntimeError as caught:
            error = _one_line(caught)
        except FoldcliError as caught:
            error = str(caught)
        return replace(job.record("failed"), error=error)

    def _fold_one(self, job: Job, watcher: Watcher) -> Record:
        start, self.timings = time.perf_counter(), {}
        reset_peak(self.device)
        predictions = list(self._predictions(job, watcher))
        ranked = sorted(predictions, key=self._rank, reverse=True)
        best, trained = ranked[0], all(source.trained for source in self.sources)
        record = replace(
            job.record("done"), model=best.model, seed=best.seed, plddt=best.mean_plddt, ptm=best.ptm, trained=trained,
            memory_gib=peak_bytes(self.device) / GIB, seconds=time.perf_counter() - start,
        )  # fmt: skip
        with job_folder(self.out, job.query.name, self.config.overwrite) as folder:
            files = write_job(folder, job.query, [(p, self._provenance(p, job)) for p in ranked], self.timings)
            record = replace(record, files=files)
            write_record(folder, record)
        return record

    def _rank(self, prediction: Prediction) -> float:
        by_ptm = self.config.rank_by == "ptm" and prediction.ptm is not None
        return prediction.ptm if by_ptm and prediction.ptm is not None else prediction.mean_plddt

    def _predictions(self, job: Job, watcher: Watcher) -> Iterator[Prediction]:
        seeds = range(self.config.random_seed, self.config.random_seed + self.config.num_seeds)
        for source in self.sources:
            self._check_memory(job, source)
            model = self._model(source)
            for seed in seeds:
                yield self._predict(model, source, job, seed, watcher)

    def _predict(self, model: AlphaFold, source: Source, job: Job, seed: int, watcher: Watcher) -> Prediction:
        query, config = job.query, source.config
        passes = config.num_recycle + 1
        depth = job.record("").depth
        input_kind = f"alignment of {depth} sequences" if depth > 1 else "single sequence, no alignment"
        watcher.job_started(query.name, f"{len(query.sequence)} residues, {input_kind}, {source.name}", passes)
        label, last = f"{source.name}_seed_{seed:03d}", time.perf_counter()

        def passed(number: int, moved: float) -> None:
            nonlocal last
            now = time.perf_counter()
            self.timings[f"{label}_pass_{number}"] = now - last
            watcher.passed(query.name, f"{source.name} seed {seed} pass {number}: moved {moved:.2f} A, {now - last:.1f} s")
            last = now

        return predict(model, query, featurize(query, config.model.msa, seed, passes), config, seed, passed)

    def _check_memory(self, job: Job, source: Source) -> None:
        msa, depth = source.config.model.msa, job.record("").depth
        rows = min(depth, msa.max_clusters)
        extra = min(max(depth - rows, 1), msa.max_extra)
        width = self.precision.itemsize
        require_memory(source.config.model, len(job.query.sequence), rows, extra, width, self.device)

    def _model(self, source: Source) -> AlphaFold:
        if source.name not in self._loaded:
            start = time.perf_counter()
            self._loaded[source.name] = load_model(source, self.device, self.precision)
            self.timings[f"{source.name}_load"] = time.perf_counter() - start
        return self._loaded[source.name]

    def _provenance(self, prediction: Prediction, job: Job) -> Provenance:
        source = next(source for source in self.sources if source.name == prediction.model)
        return Provenance(
            name=job.query.name, title=job.query.title, version=__version__, parameters=source.parameters,
            trained=source.trained, depth=job.record("").depth,
        )  # fmt: skip


def _require_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".foldcli"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error}); use another folder") from error


def _one_line(error: RuntimeError) -> str:
    text = " ".join(str(error).split())
    return "out of memory; try --precision bf16 or a shorter sequence" if "allocate memory" in text else text


