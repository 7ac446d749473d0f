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
        self._taken: dict[str, FileLock] = {}

    def take(self, job: Job, group: RankGroup) -> bool:
        """Whether the job could be locked for this group of ranks; it then is until its release, by any thread."""
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / job.query.name, thread_local=False)
        if group.first:
            with contextlib.suppress(Timeout):
                lock.acquire(blocking=False)
                self._taken[job.query.name] = lock
        return group.any(lock.is_locked)

    def release(self, job: Job) -> None:
        """Unlock a job, if this process has locked it."""
        if lock := self._taken.pop(job.query.name, None):
            lock.release()

    def release_all(self) -> None:
        while self._taken:
            self._taken.popitem()[1].release()

    def locked(self, jobs: Iterable[Job], group: RankGroup, held: Callable[[Job], None]) -> Iterator[Job]:
        """Yield each job once it is locked for this group of ranks; who takes it releases it.

        Jobs that other processes have locked come last: `held` is told of each, and it is waited for.
        """
        later = []
        for job in jobs:
            if self.take(job, group):
                yield job
            else:
                later.append(job)
        for job in later:
            held(job)
            while not self.take(job, group):
                time.sleep(POLL_SECONDS)
            yield job
