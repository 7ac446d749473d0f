"""CUDA graphs of a training step: a small model's kernels run faster than the host can launch them.

The first step with samples of some shapes runs as it is, which compiles kernels and copies tables to the device; the
second is captured, and from then on replayed. How many recycling passes there are is drawn outside, so that each number
has a graph of its own. All share one pool of memory, since they run one after another.
"""

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from foldcli.data.training.tensors import map_tensors, named_tensors
from foldcli.errors import first_line
from foldcli.shapes import Tensor

T = TypeVar("T")
# Graphs: more than these are shapes that vary from step to step.
MOST = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captured:
    """A graph, the tensors that it reads and the one that it writes, which its next replay overwrites."""

    graph: torch.cuda.CUDAGraph
    given: list[Tensor]
    result: Tensor

    def replay(self, given: list[Tensor]) -> Tensor:
        torch._foreach_copy_(self.given, given)
        self.graph.replay()
        return self.result.clone()


class StepGraphs:
    """Runs pieces of a step by graphs, where these are usable and as long as capturing goes well."""

    def __init__(self, usable: bool) -> None:
        self.usable = usable
        self.called: set[Hashable] = set()  # name, paths, shapes and types
        self.captured: dict[Hashable, Captured] = {}
        self.pool: Any = None

    def run(self, name: str, work: Callable[[T], Tensor], given: T) -> Tensor:
        """What `work` of this name returns: from the tensors in `given`, and from others that stay where they are.

        It must not wait for the device, nor change what it is given.
        """
        if not self.usable:
            return work(given)
        key = name, *((path, x.shape, x.dtype) for path, x in named_tensors(given))
        if key in self.captured:
            return self.captured[key].replay(_tensors(given))
        if key not in self.called:
            self.called.add(key)
            if len(self.called) > MOST:
                self._give_up(f"samples have more than {MOST} shapes")
            return work(given)
        try:
            self.captured[key] = self._capture(work, given)
        except RuntimeError as error:
            self._give_up(first_line(error))
            return work(given)
        return self.captured[key].replay(_tensors(given))

    def _capture(self, work: Callable[[T], Tensor], given: T) -> Captured:
        held, graph = map_tensors(torch.clone, given), torch.cuda.CUDAGraph()
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        # thread_local: another thread may copy samples to the device meanwhile
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            result = work(held)
        return Captured(graph, _tensors(held), result)

    def _give_up(self, reason: str) -> None:
        self.usable, self.pool = False, None
        self.captured.clear()
        _log.warning("kernels are launched one by one: no CUDA graph of a training step: %s", reason)


def _tensors(value: object) -> list[Tensor]:
    return [tensor for _, tensor in named_tensors(value)]
