"""One process at a time folds a job: several may fold the same records into one folder."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from foldcli.folding.job import Job
from foldcli.parallel.mesh import RankGroup

POLL_SECONDS = 0.5


class JobLocks:
    """Locks on the jobs of an output folder, an empty file each; the system lets go of those of a killed process."""

    def __init__(self, out: Path) -> None:
        self.folder = out / ".locks"

    @contextlib.contextmanager
    def tried(self, job: Job, group: RankGroup) -> Iterator[bool]:
        """Whether the job could be locked for the block."""
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / job.query.name)
        try:
            if group.first:
                with contextlib.suppress(Timeout):
                    lock.acquire(blocking=False)
            yield group.any(lock.is_locked)
        finally:
            lock.release()

    def locked(self, jobs: Iterable[Job], group: RankGroup, held: Callable[[Job], None]) -> Iterator[Job]:
        """Yield each job, locked for this group of ranks until the next one is asked for.

        Jobs that other processes have locked come last: `held` is told of each, and it is waited for.
        """
        later = []
        for job in jobs:
            with self.tried(job, group) as taken:
                if taken:
                    yield job
                else:
                    later.append(job)
        for job in later:
            held(job)
            with self._awaited(job, group):
                yield job

    @contextlib.contextmanager
    def _awaited(self, job: Job, group: RankGroup) -> Iterator[None]:
        while True:
            with self.tried(job, group) as taken:
                if taken:
                    yield
                    return
            time.sleep(POLL_SECONDS)
