"""One rank of `benchmarks/parallel.py`: times an Evoformer block, plain and sharded, in turns; rank 0 prints JSON."""

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from foldcli.bench.simulate.network import Link, Network
from foldcli.bench.simulate.record import measured_schedule
from foldcli.bench.simulate.schedule import replay
from foldcli.config import StackConfig
from foldcli.folding.allocator import keep_freed_memory
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.msa import MsaColumnAttention
from foldcli.parallel.collectives import shift, wait
from foldcli.parallel.comm_volume import CommCounter
from foldcli.parallel.layouts import local_shard
from foldcli.parallel.mesh import RankGroup, build_mesh
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.parallel.shard import shard
from foldcli.shapes import Tensor


@dataclass(frozen=True)
class Turn:
    """Seconds of one turn.

    whole: the plain block on one rank; both: on all ranks at once; split: the sharded block; exposed: its exposed
    communication; synchronous: the sharded block if each message is awaited at once; communication: its waits then;
    predicted: the sharded block as simulated.
    """

    whole: float
    both: float
    split: float
    exposed: float
    synchronous: float
    communication: float
    predicted: float


class Synchronous(CommCounter):
    """Waits for every collective where it is started: the sharded block without Duality Async."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if func.namespace == "_c10d_functional" and func._opname != "wait_tensor":
            start = time.perf_counter()
            wait(result)
            self.exposed += time.perf_counter() - start
        return result


class Case:
    """A block, plain and sharded, and an input."""

    def __init__(self, depth: int, length: int, train: bool) -> None:
        config, c_z = StackConfig(), 128
        torch.manual_seed(0)
        self.train = train
        self.group = build_mesh("cpu", dist.get_world_size()).axial
        self.block = EvoformerBlock(config, c_z, MsaColumnAttention(config.c_m, config.msa_heads)).eval()
        self.split = shard(copy.deepcopy(self.block), self.group)
        self.m, self.z = torch.randn(depth, length, config.c_m), torch.randn(length, length, c_z)
        self.masks = torch.ones(depth, length), torch.ones(length, length)

    def run_whole(self) -> None:
        self._run(self.block, self.m, self.z, *self.masks)

    def run_split(self) -> None:
        parts = [local_shard(x, -3, self.group) for x in (self.m, self.z)]
        self._run(self.split, *parts, self.masks[0], local_shard(self.masks[1], -2, self.group))

    def _run(self, block: EvoformerBlock, m: Tensor, z: Tensor, *masks: Tensor) -> None:
        with torch.set_grad_enabled(self.train):
            m, z = block(m.detach().requires_grad_(self.train), z.detach().requires_grad_(self.train), *masks)
            if self.train:
                torch.autograd.backward([m.sum() + z.sum()])

    def turn(self) -> Turn:
        whole = seconds(self.run_whole if self.group.rank == 0 else lambda: None)
        both = seconds(self.run_whole)
        split = seconds(self.run_split)
        with CommCounter(self.group) as hidden:
            seconds(self.run_split)
        with Synchronous(self.group) as shown:
            synchronous = seconds(self.run_split)
        return Turn(whole, both, split, hidden.exposed, synchronous, shown.exposed, self.predicted())

    def predicted(self) -> float:
        """Seconds of the sharded block, simulated from this rank's kernels and the link, both measured now."""
        there = measured_link(self.group)
        dist.barrier()
        schedule = measured_schedule(self.run_split, self.group, torch.device("cpu"))
        dist.barrier()
        return replay(schedule, Network(there, there), self.group.size).total

    def memory(self) -> tuple[int, int]:
        """Peak bytes of the plain block (on rank 0 only) and of the sharded one."""
        return peak_cpu_bytes(self.run_whole) if self.group.rank == 0 else 0, peak_cpu_bytes(self.run_split)


def seconds(work: Callable[[], None]) -> float:
    """Seconds from when all ranks are ready until the last is done."""
    dist.barrier()
    start = time.perf_counter()
    work()
    dist.barrier()
    return time.perf_counter() - start


def measured_link(group: RankGroup) -> Link:
    """Latency and bandwidth of one message to the next rank."""
    small, large = torch.zeros(1), torch.zeros(1 << 22)

    def once(message: Tensor) -> float:
        return seconds(lambda: wait(shift(message, group, 1)))

    latency = min(once(small) for _ in range(5))
    return Link(latency, large.nbytes / max(1e-9, min(once(large) for _ in range(5)) - latency))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=128)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a fold does
    dist.init_process_group("gloo")
    case = Case(options.depth, options.length, options.train)
    with nullcontext() if options.train else torch.inference_mode():
        if options.memory:
            found: Any = dict(zip(("whole", "split"), case.memory(), strict=True))
        else:
            case.turn()  # warm-up: opens connections, maps memory
            turns = [asdict(case.turn()) for _ in range(options.turns)]
            # minimum: other work on the machine only adds time
            found = {key: min(turn[key] for turn in turns) for key in turns[0]}
    if case.group.rank == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
