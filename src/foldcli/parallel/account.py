"""What a rank sends to others and how long it waits for them, and what an Evoformer block ought to send."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.config import StackConfig
from foldcli.parallel.mesh import Axis

GATHER, SCATTER, EXCHANGE = "all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single"


class Account(TorchDispatchMode):
    """Counts every collective inside the block, in the backward pass as well, whoever has started it.

    messages by kind; sent: bytes by kind that this rank sends to others; largest: the most bytes that one message of a
    kind has brought together; waited: seconds in which nothing was computed since data was not there.
    """

    def __init__(self, ranks: Axis) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ranks = ranks
        self.messages: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()
        self.waited = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call: Callable[[], Any] = lambda: func(*args, **(kwargs or {}))  # noqa: E731
        if func.namespace != "_c10d_functional":
            return call()
        name = func._opname
        if name == "wait_tensor":
            start = time.perf_counter()
            result = call()
            self.waited += time.perf_counter() - start
            return result
        result = call()
        self.messages[name] += 1
        self.sent[name] += sent_bytes(name, args, self.ranks)
        self.largest[name] = max(self.largest[name], result.nbytes)
        return result


def sent_bytes(name: str, args: tuple[Any, ...], ranks: Axis) -> int:
    """Bytes that this rank sends to others by the collective of that name, called with these arguments."""
    nbytes: int = args[0].nbytes
    if name == EXCHANGE:
        split = args[2]
        return nbytes * (sum(split) - split[ranks.rank]) // max(sum(split), 1)
    others = ranks.size - 1
    return nbytes * others if name == GATHER else nbytes * others // ranks.size


def block_messages(ranks: int, backward: bool = False) -> Counter[str]:
    """How many collectives one Evoformer block takes: four changes of layout, three biases, rings for five products."""
    rings = 7 if backward else 5  # outgoing edges take a second turn: one for an operand, one for its gradient
    return Counter({EXCHANGE: 4 + rings * (ranks - 1), SCATTER if backward else GATHER: 3})


def block_sent(
    config: StackConfig, c_z: int, depth: int, length: int, ranks: int, width: int, backward: bool = False
) -> Counter[str]:
    """Bytes that each rank sends for one Evoformer block of [depth, length], `width` bytes a number."""
    pairs, rows = length * length, depth * length
    layouts = (2 * rows * config.c_m + 2 * pairs * c_z) * (ranks - 1) // ranks**2
    rings = (3 if backward else 2) * pairs * config.c_triangle + rows * (config.c_outer + 1)
    biases = pairs * (config.msa_heads + 2 * config.pair_heads)
    return Counter(
        {
            EXCHANGE: width * (layouts + rings * (ranks - 1) // ranks),
            SCATTER if backward else GATHER: width * biases * (ranks - 1) // ranks,
        }
    )


def peak_of(function: Callable[[], object]) -> int:
    """Most bytes that the CPU's tensors take while the function runs, beyond those there were."""
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        function()
    held, most = 0, 0
    for event in sorted(profile.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
