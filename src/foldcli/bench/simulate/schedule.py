"""What one of several ranks computes, sends and waits for, in the order in which the program does it.

The program of rank 0 runs alone: its collectives are written down and return at once, and so are the places where their
results are waited for. What lies between takes what a device's roofline says, on tensors without memory, or what it
takes here, on real ones. `play` then lets a network take part.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.fx.experimental._config as symbolic
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from foldcli import ops
from foldcli.autochunk.footprint import MemoryTracker, traffic_bytes
from foldcli.bench.simulate.network import Device, Network
from foldcli.parallel.comm_volume import ALL_GATHER, ALL_TO_ALL, sent_bytes
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.shapes import Tensor

# Arithmetic of a fused kernel's backward pass in its forward passes: each product has two gradients, and what the
# kernel has not kept is computed again.
BACKWARD = 2.5


@dataclass(frozen=True)
class Message:
    """A collective that is started: bytes that this rank sends, and to how many others one after another."""

    kind: str
    peers: int
    sent: int


@dataclass(frozen=True)
class Wait:
    """Where the result of a message is needed, which is named by its place among the events."""

    message: int


@dataclass
class Schedule:
    """Seconds of computing, messages and waits in their order.

    flops: of what the roofline has counted; peak: the most bytes that what was made meanwhile took at once.
    """

    events: list[float | Message | Wait] = field(default_factory=list)
    flops: float = 0.0
    peak: int = 0


@dataclass(frozen=True)
class Played:
    """Seconds of a schedule on a network: all, those in which messages travel, those in which nothing else is done."""

    total: float
    communication: float
    exposed: float


def play(schedule: Schedule, network: Network, ranks: int) -> Played:
    """Let a schedule take its time, message after message; ranks are alike, so each message finds its peers ready."""
    now = free = communication = exposed = 0.0
    come: dict[int, float] = {}
    for place, event in enumerate(schedule.events):
        if isinstance(event, Message):
            seconds = network.message(event.peers, event.sent, ranks)
            come[place] = free = max(now, free) + seconds
            communication += seconds
        elif isinstance(event, Wait):
            late = max(0.0, come[event.message] - now)
            now, exposed = now + late, exposed + late
        else:
            now += event
    return Played(now, communication, exposed)


class Alone(TorchDispatchMode):
    """Writes the schedule of a rank that is alone in its process, and takes the time of what it computes."""

    def __init__(self, ranks: RankGroup, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ranks = ranks
        self.device = device
        self.schedule = Schedule()
        self.under_way: dict[int, int] = {}
        self.since = time.perf_counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace != "_c10d_functional":
            return self.compute(func, types, args, kwargs or {})
        self.pause()
        try:
            return self._wait(args[0]) if func._opname == "wait_tensor" else self._start(func._opname, args)
        finally:
            self.since = time.perf_counter()

    def compute(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Do what is no collective."""
        return func(*args, **kwargs)

    def pause(self) -> None:
        """Write down the time since the last event."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.schedule.events.append(time.perf_counter() - self.since)

    def _start(self, name: str, args: Any) -> Tensor:
        buffer, size = args[0], self.ranks.size
        rows = {ALL_TO_ALL: lambda: sum(args[1]), ALL_GATHER: lambda: buffer.shape[0] * size}
        result: Tensor = buffer.new_empty(rows.get(name, lambda: buffer.shape[0] // size)(), *buffer.shape[1:])
        peers = sum(map(bool, args[2])) - bool(args[2][self.ranks.rank]) if name == ALL_TO_ALL else size - 1
        self.under_way[id(result)] = len(self.schedule.events)
        self.schedule.events.append(Message(name, peers, sent_bytes(name, args, self.ranks)))
        return result

    def _wait(self, result: Tensor) -> Tensor:
        self.schedule.events.append(Wait(self.under_way.pop(id(result))))
        return result


class Roofline(Alone):
    """Takes the time of a device from its data sheet; the tensors have no memory, which is counted all the same."""

    def __init__(self, ranks: RankGroup, sheet: Device) -> None:
        super().__init__(ranks, torch.device("meta"))
        self.sheet = sheet
        self.ledger = self.main = MemoryTracker()
        self.bodies: dict[Any, tuple[Any, float]] = {}

    def pause(self) -> None:
        """Nothing is computed here."""

    def compute(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        ledger = self.ledger
        flops, traffic, calls = ledger.flops, ledger.traffic, ledger.calls
        result = ledger.__torch_dispatch__(func, types, args, kwargs)
        if ledger is self.main and ledger.calls > calls and "empty" not in func._opname:
            self.kernel(ledger.flops - flops, ledger.traffic - traffic, args)
        return result

    def kernel(self, flops: float, traffic: float, args: Sequence[Any]) -> None:
        """Write down what one kernel takes; its first tensor's type is what it computes in."""
        dtype = next((x.dtype for x in args if isinstance(x, Tensor) and x.is_floating_point()), torch.float32)
        self.schedule.events.append(self.sheet.seconds(flops, traffic, dtype))
        self.schedule.flops += flops

    def inside(self, key: Any, body: Callable[[], Any]) -> tuple[Any, float]:
        """What an operation's body returns, and its arithmetic; no memory and no time of its own, and only once."""
        if key not in self.bodies:
            self.ledger = MemoryTracker()
            try:
                self.bodies[key] = body(), self.ledger.flops
            finally:
                self.ledger = self.main
        return self.bodies[key]


@contextmanager
def fused(roofline: Roofline) -> Iterator[None]:
    """Inside, each operation of `foldcli.ops` that has a kernel is one that reads its arguments, writes its results."""
    bodies = {name: body for name in ops.__all__ if hasattr(body := getattr(ops, name), "__wrapped__")}
    for name, body in bodies.items():
        setattr(ops, name, partial(_as_kernel, roofline, body))
    try:
        yield
    finally:
        for name, body in bodies.items():
            setattr(ops, name, body)


def _as_kernel(roofline: Roofline, body: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    leaves, tree = tree_flatten((args, kwargs))
    return _Kernel.apply(roofline, body, tree, *leaves)  # type: ignore[no-untyped-call]


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, roofline: Roofline, func: Callable[..., Any], tree: Any, *leaves: Any) -> Any:
        args, kwargs = tree_unflatten(leaves, tree)
        key = func, *((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in leaves)
        result, ctx.flops = roofline.inside(key, lambda: func(*args, **kwargs))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        single = isinstance(result, Tensor)
        results = tuple(torch.empty_like(x) for x in ([result] if single else result))
        ctx.roofline, ctx.places = roofline, [k for k, x in enumerate(leaves) if isinstance(x, Tensor)]
        ctx.save_for_backward(*tensors)
        roofline.kernel(ctx.flops, sum(map(traffic_bytes, [*tensors, *results])), tensors)
        return results[0] if single else results

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        made = {k: torch.empty_like(x) for k, x in zip(ctx.places, tensors, strict=True) if needed[k]}
        traffic = sum(map(traffic_bytes, [*tensors, *gradients, *made.values()]))
        ctx.roofline.kernel(BACKWARD * ctx.flops, traffic, tensors)
        return None, None, None, *(made.get(k) for k in range(len(needed)))


def by_roofline(work: Callable[[], object], ranks: RankGroup, sheet: Device) -> Schedule:
    """The schedule of work on tensors without memory, as a device of this sheet would do it."""
    roofline = Roofline(ranks, sheet)
    plain = sdpa_kernel(SDPBackend.MATH)  # the others are opaque to counters
    # where a mask chooses, all is chosen
    with roofline, fused(roofline), plain, symbolic.patch(meta_nonzero_assume_all_nonzero=True):  # type: ignore[attr-defined]
        work()
    roofline.schedule.peak = roofline.main.peak
    return roofline.schedule


def by_clock(work: Callable[[], object], ranks: RankGroup, device: torch.device) -> Schedule:
    """The schedule of work on real tensors, as this machine does it now."""
    with Alone(ranks, device) as clock:
        clock.since = time.perf_counter()
        work()
        clock.pause()
    return clock.schedule


def memory_of(work: Callable[[], object], ranks: RankGroup, device: torch.device) -> int:
    """Bytes that the same work takes at most; a first run, which warms up for the clock."""
    with Alone(ranks, device):
        if device.type == "cpu":
            return peak_cpu_bytes(work)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
