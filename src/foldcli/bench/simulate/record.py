"""Record a rank's schedule in one process, with the kernel times of this machine.

The program of rank 0 runs alone: a collective is recorded and returns at once, and so does a wait for its result.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.bench.simulate.schedule import Message, Schedule, Wait
from foldcli.parallel.comm_volume import ALL_GATHER, ALL_TO_ALL, sent_bytes
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.shapes import Tensor


class ScheduleRecorder(TorchDispatchMode):
    """Records collectives, waits and the wall-clock time between them."""

    def __init__(self, ranks: RankGroup, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ranks = ranks
        self.device = device
        self.schedule = Schedule()
        self.pending: dict[int, int] = {}  # id of a collective's result -> index of its event
        self.last_event = time.perf_counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace != "_c10d_functional":
            return self.compute(func, types, args, kwargs or {})
        self.record_time()
        try:
            return self._wait(args[0]) if func._opname == "wait_tensor" else self._start(func._opname, args)
        finally:
            self.last_event = time.perf_counter()

    def compute(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator that is no collective."""
        return func(*args, **kwargs)

    def record_time(self) -> None:
        """Record the computation since the last event."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.schedule.events.append(time.perf_counter() - self.last_event)

    def _start(self, name: str, args: Any) -> Tensor:
        buffer, size = args[0], self.ranks.size
        rows = {ALL_TO_ALL: lambda: sum(args[1]), ALL_GATHER: lambda: buffer.shape[0] * size}
        result: Tensor = buffer.new_empty(rows.get(name, lambda: buffer.shape[0] // size)(), *buffer.shape[1:])
        peers = sum(map(bool, args[2])) - bool(args[2][self.ranks.rank]) if name == ALL_TO_ALL else size - 1
        self.pending[id(result)] = len(self.schedule.events)
        self.schedule.events.append(Message(name, peers, sent_bytes(name, args, self.ranks)))
        return result

    def _wait(self, result: Tensor) -> Tensor:
        self.schedule.events.append(Wait(self.pending.pop(id(result))))
        return result


def measured_schedule(run: Callable[[], object], ranks: RankGroup, device: torch.device) -> Schedule:
    """The schedule of a call on real tensors, with kernel times measured on this machine."""
    with ScheduleRecorder(ranks, device) as recorder:
        recorder.last_event = time.perf_counter()
        run()
        recorder.record_time()
    return recorder.schedule


def measured_peak(run: Callable[[], object], ranks: RankGroup, device: torch.device) -> int:
    """Peak bytes that a call allocates; also warms it up for `measured_schedule`."""
    with ScheduleRecorder(ranks, device):
        if device.type == "cpu":
            return peak_cpu_bytes(run)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
