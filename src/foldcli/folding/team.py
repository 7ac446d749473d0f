"""Which ranks fold which job: a long protein is folded by a group of them, short ones by one rank each."""

import contextlib
import copy
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from foldcli.config import FoldConfig
from foldcli.devices import choose_device
from foldcli.errors import FoldcliError, InputError
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.launch import require_devices
from foldcli.parallel.mesh import AXIAL, DATA, build_mesh
from foldcli.parallel.shard import shard
from foldcli.parallel.worker import joined, launched, ranks_of_host

# Residues; a pass over fewer takes seconds on one device.
WORTH_SPLITTING = 256
FAILED, LOOKING_EVERY = "failed", 0.1  # seconds


class RanksWanted(InputError):
    """Several ranks are asked for, and this process is alone; the command line starts them."""

    def __init__(self, ranks: int) -> None:
        super().__init__(f"gpus={ranks}: from Python start as many ranks with torchrun, or run `foldcli fold`")
        self.ranks = ranks


@contextlib.contextmanager
def at_its_place(config: FoldConfig) -> Iterator[None]:
    """Be one of the ranks inside the block; RanksWanted where several are asked for and nobody has started them."""
    kind = choose_device(config.device).type
    if launched():
        with joined(kind):
            yield
        return
    if config.gpus > 1:
        require_devices(config.device, config.gpus)
        raise RanksWanted(config.gpus)
    yield


class Sized(Protocol):
    """A job, as far as its place in the queue goes."""

    @property
    def length(self) -> int: ...


J = TypeVar("J", bound=Sized)


@dataclass(frozen=True)
class Group:
    """The ranks that fold one job together, this process among them; without a mesh it is alone."""

    mesh: DeviceMesh | None = None

    @property
    def size(self) -> int:
        return self.mesh[AXIAL].size() if self.mesh else 1

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes the group's files."""
        return self.mesh is None or self.mesh.get_local_rank(AXIAL) == 0

    def split(self, model: AlphaFold) -> AlphaFold:
        """The model as this group runs it, with the very parameters of the plain one."""
        if self.mesh is None or self.size == 1:
            return model
        return shard(copy.deepcopy(model, {id(p): p for p in model.parameters()}), self.mesh)

    def any(self, flag: bool) -> bool:
        """Whether the flag stands on any of the group's ranks."""
        return bool(self._largest(int(flag)))

    def take(self, jobs: Sequence[J], queue: str) -> Iterator[J]:
        """This group's jobs: all where there is one group, else whichever of the longest left it comes to first."""
        if self.mesh is None or self.mesh[DATA].size() == 1:
            yield from jobs
            return
        longest_first = sorted(jobs, key=lambda job: job.length, reverse=True)
        store = dist.distributed_c10d._get_default_store()
        while (index := self._largest(store.add(queue, 1) if self.leads else 0)) <= len(jobs):
            yield longest_first[index - 1]

    def shared(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What the leader makes, on every rank of the group; the name is this call's alone.

        The others look for its end as long as it takes: a collective would give up on them. FoldcliError where they
        wait for what the leader failed to make.
        """
        if self.mesh is None or self.size == 1:
            return make()
        store, made = dist.distributed_c10d._get_default_store(), b""
        if self.leads:
            try:
                made = make()
            except BaseException:
                store.set(name, FAILED)
                raise
            store.set(name, str(len(made)))
        while not store.check([name]):
            time.sleep(LOOKING_EVERY)
        if (size := store.get(name).decode()) == FAILED:
            raise FoldcliError(f"{name}: the first rank of the group could not make it")
        data = torch.frombuffer(bytearray(made or int(size)), dtype=torch.uint8)
        dist.broadcast(data, group=self.mesh.get_group(AXIAL), group_src=0)
        return data.numpy().tobytes()

    def _largest(self, number: int) -> int:
        if self.mesh is None or self.size == 1:
            return number
        numbers = torch.tensor(number)
        dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self.mesh.get_group(AXIAL))
        return int(numbers)


@dataclass(frozen=True)
class Team:
    """All ranks of a run, this process among them; alone where there are no others."""

    size: int = 1
    rank: int = 0

    @classmethod
    def joined(cls) -> "Team":
        return cls(dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else cls()

    @property
    def first(self) -> bool:
        """Whether this is the rank that prints and writes the tables."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier()

    def shares(
        self, jobs: Sequence[J], dap: int, device_type: str, fits: Callable[[J], bool]
    ) -> Iterator[tuple[Group, list[J]]]:
        """Groups and what they fold, one after another: of `dap` ranks, or where that is 0 as the jobs ask for.

        Then a host's ranks fold together what does not fit one device, and, when there are too few jobs for all ranks,
        what is long; one rank each folds the rest. InputError if `dap` does not divide the ranks.
        """
        if self.size == 1 or not jobs:
            yield Group(), list(jobs)
            return
        if dap:
            yield Group(build_mesh(device_type, dap)), list(jobs)
            return
        few = len(jobs) < self.size
        together = self._of_first([not fits(job) or (few and job.length >= WORTH_SPLITTING) for job in jobs])
        for axial, split in ((ranks_of_host(), True), (1, False)):
            share = [job for job, this in zip(jobs, together, strict=True) if this == split]
            if share:
                yield Group(build_mesh(device_type, axial)), share

    @property
    def may_share(self) -> bool:
        """Whether a job that is too large for one rank may be split over those of its host."""
        return self.size > 1 and ranks_of_host() > 1

    def once_more(self, jobs: Sequence[J], too_large: list[int], device_type: str) -> Iterator[tuple[Group, list[J]]]:
        """A host's ranks together, for those jobs, by their places, that any rank has found too large for itself."""
        if not self.may_share:
            return
        found: list[list[int]] = [[] for _ in range(self.size)]
        dist.all_gather_object(found, too_large)
        if share := [jobs[index] for index in sorted(itertools.chain(*found))]:
            yield Group(build_mesh(device_type, ranks_of_host())), share

    @staticmethod
    def _of_first(flags: list[bool]) -> list[bool]:
        """Rank 0's flags, so that all decide alike."""
        decided = torch.tensor(flags, dtype=torch.int64)
        dist.broadcast(decided, 0)
        return [bool(flag) for flag in decided.tolist()]
