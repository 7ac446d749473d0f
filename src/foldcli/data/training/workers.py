"""Prefetch items with worker processes, in order."""

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
# Items that each worker prefetches; a slow item delays nothing until the other workers' items are used up.
AHEAD = 4


def stream(
    make: Callable[[K], T], keys: Iterable[K], workers: int, device: torch.device | None = None
) -> Generator[T, None, None]:
    """Yield `make(key)` for each key, in order, made by worker processes, or here without workers.

    `make` is pickled for each worker and must depend on itself and the key only. Slow items have no deadline, since
    samples would then depend on timing. Tensors arrive on the device, or in pinned memory where there is a GPU; workers
    stop when the iterator is closed or this process ends. An exception in a worker is raised here with its traceback;
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
        # its own: the loader draws a seed, and must not advance torch's generator, which resumed runs restore
        generator=torch.Generator(),
    )
    return _unpacked(iter(loader), device)


@dataclass(frozen=True)
class Items(Dataset[Packed[T]], Generic[K, T]):
    """A torch dataset whose items are made by key."""

    make: Callable[[K], T]

    def __getitem__(self, key: K) -> Packed[T]:
        return pack(self.make(key))


def _as_it_is(item: T) -> T:
    return item


def _unpacked(items: Iterator[Packed[T]], device: torch.device | None) -> Generator[T, None, None]:
    with _naming_death():
        for packed in items:
            yield (packed.to(device) if device else packed).unpack()


def _context() -> multiprocessing.context.ForkServerContext:
    """Fork workers from a server process that has imported torch but has no threads and no GPU context."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _settle(worker: int) -> None:
    """Ignore Ctrl-C, which the parent handles, and exit with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # torch watches the fork server, which is the workers' parent process and outlives ours
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
