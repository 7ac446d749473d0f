"""Which ranks fold which job: a long protein is split over a group of ranks (DAP), short ones take one rank each."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist

from foldcli.config import FoldConfig
from foldcli.devices import choose_device
from foldcli.errors import InputError
from foldcli.parallel.launch import require_devices
from foldcli.parallel.mesh import RankGroup, RankMesh, build_mesh
from foldcli.parallel.worker import is_launched, process_group, ranks_per_host

# Residues from which a job is split although it fits one device; a shorter one takes seconds.
MIN_SPLIT_LENGTH = 256


class RanksNotStarted(InputError):
    """Several ranks are asked for, and this process is alone; the command line catches this and starts them."""

    def __init__(self, ranks: int) -> None:
        super().__init__(f"gpus={ranks}: from Python start as many ranks with torchrun, or run `foldcli fold`")
        self.ranks = ranks


@contextlib.contextmanager
def join_ranks(config: FoldConfig) -> Iterator[None]:
    """Join the process group inside the block if this process was launched as a rank.

    RanksNotStarted if several ranks are asked for and this process was not launched as one of them.
    """
    kind = choose_device(config.device).type
    if is_launched():
        with process_group(kind):
            yield
        return
    require_ranks(config)
    if config.gpus > 1:
        raise RanksNotStarted(config.gpus)
    yield


def require_ranks(config: FoldConfig) -> None:
    """InputError if this machine has too few devices for the ranks of a run, or the run too few for its jobs."""
    if config.gpus > 1:
        require_devices(config.device, config.gpus, "--device cpu")
    elif config.dap > 1:
        raise InputError(f"--dap {config.dap}: there is one process; add --gpus {config.dap}, or a multiple of it")


class Sized(Protocol):
    """What the scheduler needs of a job: its number of residues."""

    @property
    def length(self) -> int: ...


J = TypeVar("J", bound=Sized)


def take_jobs(jobs: Sequence[J], mesh: RankMesh, queue: str) -> Iterator[J]:
    """The jobs that this process's axial group folds: all if it is the only group, else from a shared queue.

    The queue hands out the longest job first; its name must be the same on all ranks and new for each list of jobs.
    """
    if mesh.data.size == 1:
        yield from jobs
        return
    longest_first = sorted(jobs, key=lambda job: job.length, reverse=True)
    store = dist.distributed_c10d._get_default_store()
    while (number := mesh.axial.max(store.add(queue, 1) if mesh.axial.first else 0)) <= len(jobs):
        yield longest_first[number - 1]


@dataclass(frozen=True)
class JobScheduler:
    """Divides the jobs of a run among all its ranks."""

    world: RankGroup

    def assign(
        self, jobs: Sequence[J], dap: int, device_type: str, fits: Callable[[J], bool]
    ) -> Iterator[tuple[RankMesh, list[J]]]:
        """Yield meshes and the jobs to be folded on each, one mesh after another.

        dap: ranks to a job. If it is 0, all ranks of a host share each job that does not fit one device, and each long
        job if there are fewer jobs than ranks; the other jobs take one rank each. InputError if `dap` does not divide
        the ranks.
        """
        if self.world.size == 1 or not jobs:
            yield RankMesh(), list(jobs)
            return
        if dap:
            yield build_mesh(device_type, dap), list(jobs)
            return
        split = _from_first_rank([is_split(job.length, len(jobs), self.world.size, fits(job)) for job in jobs])
        for axial, wanted in ((ranks_per_host(), True), (1, False)):
            share = [job for job, this in zip(jobs, split, strict=True) if this == wanted]
            if share:
                yield build_mesh(device_type, axial), share

    @property
    def can_reassign(self) -> bool:
        """Whether a job that is too large for one rank may be split over those of its host."""
        return self.world.size > 1 and ranks_per_host() > 1

    def reassign(self, jobs: Sequence[J], too_large: list[int], device_type: str) -> Iterator[tuple[RankMesh, list[J]]]:
        """Yield a mesh of whole hosts for the jobs that did not fit one rank; too_large: this rank's, by index."""
        if not self.can_reassign:
            return
        found: list[list[int]] = [[] for _ in range(self.world.size)]
        dist.all_gather_object(found, too_large)
        if share := [jobs[index] for index in sorted(itertools.chain(*found))]:
            yield build_mesh(device_type, ranks_per_host()), share


def is_split(length: int, jobs: int, ranks: int, fits: bool) -> bool:
    """Whether `--dap auto` splits a job of that length; jobs: their number; fits: whether it fits one rank."""
    return not fits or (jobs < ranks and length >= MIN_SPLIT_LENGTH)


def _from_first_rank(flags: list[bool]) -> list[bool]:
    """Rank 0's flags, on every rank: free memory may differ between ranks, and all must decide alike."""
    decided = torch.tensor(flags, dtype=torch.int64)
    dist.broadcast(decided, 0)
    return [bool(flag) for flag in decided.tolist()]
