"""Read many structure files in several processes; those that cannot be read are reported, counted and left out."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from foldcli.errors import FoldcliError, InputError

T = TypeVar("T")
FILES_AT_ONCE = 8


class ReadProgress(Protocol):
    """Called after each file; complaint: why nothing is taken of it, empty if something is."""

    def __call__(self, done: int, total: int, complaint: str) -> None: ...


@dataclass
class FilesRead(Generic[T]):
    """What was found in all files, and how many were read, had no protein, or could not be read.

    repeated: names of chains that several files hold; each is taken from the first.
    """

    found: list[T] = field(default_factory=list)
    files: int = 0
    without_protein: int = 0
    unreadable: int = 0
    repeated: list[str] = field(default_factory=list)

    def take_each_once(self, name_of: Callable[[T], str]) -> None:
        """Leave out what has the name of something found before."""
        first: dict[str, T] = {}
        for one in self.found:
            if first.setdefault(name_of(one), one) is not one:
                self.repeated.append(name_of(one))
        self.found = list(first.values())


def read_in_parallel(
    read: Callable[[Path], list[T]], files: Sequence[Path], workers: int, progress: ReadProgress
) -> FilesRead[T]:
    """Concatenate what `read` finds in each file, in order; FoldcliError if nothing is found or a process dies."""
    gathered: FilesRead[T] = FilesRead(files=len(files))
    for done, result in enumerate(_results(read, files, workers), start=1):
        if isinstance(result, InputError):
            gathered.unreadable += 1
            complaint = str(result)
        else:
            gathered.without_protein += not result
            gathered.found += result
            complaint = "" if result else f"{files[done - 1]}: has no protein chain with a backbone"
        progress(done, len(files), complaint)
    if not gathered.found:
        raise FoldcliError(f"no chain was found in {len(files)} files, {gathered.unreadable} of which are unreadable")
    return gathered


def _results(read: Callable[[Path], list[T]], files: Sequence[Path], workers: int) -> Iterator[list[T] | InputError]:
    attempt = partial(_attempt, read)
    if workers == 1:
        yield from map(attempt, files)
        return
    # spawn, not fork: the parent has threads, which draw its progress bar
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.map(attempt, files, chunksize=FILES_AT_ONCE)
    except BrokenProcessPool:
        raise FoldcliError(f"a process that reads files died; run again with fewer than {workers} workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(read: Callable[[Path], list[T]], file: Path) -> list[T] | InputError:
    try:
        return read(file)
    except InputError as error:
        return error
