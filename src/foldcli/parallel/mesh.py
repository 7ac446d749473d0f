"""Which ranks work together: axial ranks share one sample (DAP), data ranks hold different samples."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from foldcli.errors import FoldcliError, InputError

FAILED = "failed"
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class RankGroup:
    """A group of ranks and this process's place in it; by default this process alone.

    Plain values, so that modules that hold one can be copied. name: the process group's, for functional collectives.
    """

    rank: int = 0
    size: int = 1
    name: str = ""

    @property
    def first(self) -> bool:
        """Whether this is the rank that prints and writes files for the group."""
        return self.rank == 0

    @property
    def process_group(self) -> dist.ProcessGroup:
        return dist.distributed_c10d._resolve_process_group(self.name)  # type: ignore[attr-defined, arg-type]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier(self.process_group)

    def max(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        if self.size == 1:
            return number
        numbers = torch.tensor(number)
        dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self.process_group)
        return int(numbers)

    def min(self, number: int) -> int:
        """The smallest of the ranks' numbers."""
        return -self.max(-number)

    def from_first(self, numbers: Sequence[float]) -> list[float]:
        """The first rank's numbers, on every rank."""
        if self.size == 1:
            return list(numbers)
        sent = torch.tensor(numbers, dtype=torch.float64)
        dist.broadcast(sent, group=self.process_group, group_src=0)
        return sent.tolist()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(self.max(int(flag)))

    def make_once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Call `make` on the first rank and return its result on all; no two calls may use the same name.

        The others poll until it is ready, since a collective would time out. FoldcliError on them if `make` raised.
        """
        if self.size == 1:
            return make()
        store, made = dist.distributed_c10d._get_default_store(), b""
        if self.first:
            try:
                made = make()
            except BaseException:
                store.set(name, FAILED)
                raise
            store.set(name, str(len(made)))
        while not store.check([name]):
            time.sleep(POLL_SECONDS)
        if (size := store.get(name).decode()) == FAILED:
            raise FoldcliError(f"{name}: the first rank of the group could not make it")
        data = torch.frombuffer(bytearray(made or int(size)), dtype=torch.uint8)
        dist.broadcast(data, group=self.process_group, group_src=0)
        return data.numpy().tobytes()


@dataclass(frozen=True)
class RankMesh:
    """This process's place among all ranks; by default it is alone.

    axial: the ranks that share its sample (DAP); data: those that hold other samples at the same axial place.
    """

    axial: RankGroup = RankGroup()
    data: RankGroup = RankGroup()
    world: RankGroup = RankGroup()


def world_group() -> RankGroup:
    """All ranks of the run; this process alone where no process group was joined."""
    if not dist.is_initialized():
        return RankGroup()
    assert dist.group.WORLD is not None
    return RankGroup(dist.get_rank(), dist.get_world_size(), dist.group.WORLD.group_name)


def build_mesh(device_type: str, axial: int) -> RankMesh:
    """Arrange all ranks as [data, axial]; axial neighbours are adjacent ranks, so that they lie within a host.

    InputError if `axial` does not divide the number of ranks.
    """
    world = world_group()
    if axial < 1 or world.size % axial:
        raise InputError(f"--dap {axial}: does not divide the {world.size} ranks; take a divisor, or auto")
    mesh = init_device_mesh(device_type, (world.size // axial, axial), mesh_dim_names=("data", "axial"))

    def group(name: str) -> RankGroup:
        return RankGroup(mesh.get_local_rank(name), mesh[name].size(), mesh.get_group(name).group_name)

    return RankMesh(group("axial"), group("data"), world)
