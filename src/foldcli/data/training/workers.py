"""Items made ahead of time by worker processes, handed over in order."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from foldcli.data.training.packed_tensors import Packed, pack
from foldcli.errors import FoldcliError

K = TypeVar("K")
T = TypeVar("T")
# Items that each worker makes ahead. One that is slow holds nothing up until the others' are used up too.
AHEAD = 4


def stream(make: Callable[[K], T], keys: Iterable[K], workers: int) -> Generator[T, None, None]:
    """Make the items of `keys`, in their order however long each takes; without workers, in this process.

    `make` is pickled for each worker, and may use nothing but itself and the key. There is no deadline for a slow item:
    what the model sees would depend on it. Tensors arrive in pinned memory where there is a GPU. Workers end when the
    iterator is closed or this process is gone. An exception in a worker is raised here, with where it came from;
    FoldcliError: a worker died.
    """
    workers = min(workers, os.cpu_count() or 1)
    loader: DataLoader[Packed[T]] = DataLoader(
        Items(make),
        batch_size=None,
        sampler=keys,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context=_context() if workers else None,
        worker_init_fn=_settle,
        pin_memory=torch.cuda.is_available(),
        # its own: the loader draws a seed that nothing uses, and resumed runs must draw what they drew before
        generator=torch.Generator(),
    )
    return _unpacked(iter(loader))


@dataclass(frozen=True)
class Items(Dataset[Packed[T]], Generic[K, T]):
    """What the data loader asks each item of."""

    make: Callable[[K], T]

    def __getitem__(self, key: K) -> Packed[T]:
        return pack(self.make(key))


def _as_it_is(item: T) -> T:
    return item


def _unpacked(items: Iterator[Packed[T]]) -> Generator[T, None, None]:
    with _naming_death():
        for packed in items:
            yield packed.unpack()


def _context() -> multiprocessing.context.ForkServerContext:
    """Workers are forked from a process that has imported torch and done nothing else: no threads, no GPU."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _settle(worker: int) -> None:
    """Leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # torch watches for another parent, but here that is the process all workers are forked from, which outlives ours
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _naming_death() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise FoldcliError(
            f"a loader process died ({error}); if memory is short, set fewer 'workers', or 0 to see the cause"
        ) from error
