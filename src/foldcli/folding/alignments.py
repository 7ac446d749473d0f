"""Alignment searches in the background: while one job is folded, those of the next jobs run."""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from foldcli.config import FoldConfig
from foldcli.data.formats.alignment import parse_alignments
from foldcli.data.formats.attach_complex import pairing_notes, with_msas
from foldcli.data.formats.complex_a3m import complex_a3m_text, join_paired, paired_rows, parse_complex
from foldcli.data.query import Query
from foldcli.folding.job import Job
from foldcli.folding.progress import Silent, Watcher
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.worker import ranks_per_host
from foldcli.search.alignments import open_finder
from foldcli.search.jackhmmer import MAX_HITS
from foldcli.search.progress import SearchProgress, Stopped

# Jobs whose search runs ahead of their fold. More would be taken from other ranks long before they are folded.
AHEAD = 2
MOST_THREADS = 8
REPORTED_EVERY = 0.5  # seconds
CLOSING_SECONDS = 2.0


def expected_depth(query: Query, config: FoldConfig) -> int:
    """Rows of a query's alignment, or the most that a search may find."""
    return MAX_HITS if config.searches and not query.is_aligned else query.depth


class Alignments:
    """Searches, in a thread of its own, for the alignments of queries that come without one.

    InputError: a database or a server's address that cannot be used.
    """

    def __init__(self, config: FoldConfig, world: RankGroup) -> None:
        ranks = ranks_per_host() if world.size > 1 else 1
        self._finder = open_finder(config, max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)) // ranks)))
        self._strategy = config.pair_strategy
        self._found: dict[str, Future[str]] = {}
        self._waiting: SimpleQueue[tuple[Query, Watcher, Future[str]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._over = threading.Event()

    def wanted(self, query: Query) -> bool:
        """Whether the query's alignment has to be searched for."""
        return self._finder is not None and not query.is_aligned

    def digest(self, query: Query) -> str:
        """The settings of the search for a query's alignment, for the job's key; empty if the query comes with one."""
        return self._finder.settings if self._finder and self.wanted(query) else ""

    def methods(self, job: Job) -> Sequence[str]:
        """The search methods to cite for a job's alignment, as `report.citations` names them; none if it brought it."""
        return self._finder.search.methods if self._finder and job.a3m_found else ()

    def ahead(self, jobs: Iterator[Job], leads: bool, watcher: Watcher) -> Iterator[Job]:
        """Yield the jobs, AHEAD of them held back; where `leads`, the search for a job starts when it is drawn."""
        coming: deque[Job] = deque()
        for job in jobs:
            if leads and self.wanted(job.query):
                self._begin(job.query, watcher)
            coming.append(job)
            if len(coming) > AHEAD or not self._finder:
                yield coming.popleft()
        yield from coming

    def with_alignment(self, job: Job, group: RankGroup) -> Job:
        """The job with its alignment, as the first rank of its group finds it; FoldcliError: why there is none."""
        text = group.make_once(f"alignment of {job.query.name}", lambda: self._result(job.query).encode()).decode()
        query, path = job.query, Path(f"{job.query.name}.a3m")
        if query.chain_lengths:
            msas = parse_complex(text, path).msas
            return replace(
                job, query=replace(query, msas=msas, notes=query.notes + pairing_notes(msas)), a3m_found=text
            )
        rows = parse_alignments(text, path)[query.sequence]
        return replace(job, query=replace(query, alignment=rows.alignment()), a3m_found=text)

    def close(self) -> None:
        """End the running search: its result is no longer needed."""
        self._over.set()
        self._waiting.put(None)  # wakes a thread that waits for work
        if self._thread.is_alive():
            self._thread.join(CLOSING_SECONDS)

    def _result(self, query: Query) -> str:
        if query.name not in self._found:
            self._begin(query, Silent())
        return self._found.pop(query.name).result()

    def _begin(self, query: Query, watcher: Watcher) -> None:
        self._found[query.name] = Future()
        self._waiting.put((query, watcher, self._found[query.name]))
        if not self._thread.ident:
            self._thread.start()

    def _work(self) -> None:
        while (wanted := self._waiting.get()) and not self._over.is_set():
            query, watcher, found = wanted
            try:
                found.set_result(self._searched(query, watcher))
            except Exception as error:  # raised again where the alignment is waited for
                found.set_exception(error)

    def _searched(self, query: Query, watcher: Watcher) -> str:
        assert self._finder is not None  # or `wanted` is false
        start, due, searched = time.monotonic(), 0.0, str(self._finder.search)

        def report(detail: str, share: float | None = None) -> None:
            nonlocal due
            if self._over.is_set():
                raise Stopped
            if time.monotonic() >= due:
                watcher.searching(query.name, f"searching {searched}: {detail}", share)
                due = time.monotonic() + REPORTED_EVERY

        texts = {entity: self._finder.find(entity, report) for entity in query.entities}
        text = texts[query.sequence] if not query.chain_lengths else self._paired(query, texts, report)
        seconds = time.monotonic() - start
        count = sum(found.count("\n>") for found in texts.values())
        watcher.searched(query.name, f"{count:,} homolog{'s' * (count != 1)} in {searched}, {seconds:.1f} s")
        return text

    def _paired(self, query: Query, texts: Mapping[str, str], progress: SearchProgress) -> str:
        """The alignments of a complex's sequences as one A3M, paired by a server or else by species."""
        assert self._finder is not None
        path, entities = Path(f"{query.name}.a3m"), query.entities
        own = {entity: parse_alignments(text, path)[entity].alignment() for entity, text in texts.items()}
        pairs = self._finder.find_pairs(entities, self._strategy, progress) if len(entities) > 1 else ""
        paired = join_paired(paired_rows(pairs, path, entities)) if pairs else ()
        return complex_a3m_text(with_msas(query, own, paired=paired))
