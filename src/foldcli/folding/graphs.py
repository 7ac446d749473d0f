"""CUDA graphs of Evoformer stacks: of a short protein, kernels run faster than the host can launch them.

A stack's first call with inputs of some shapes runs as it is, which compiles and loads its kernels; the second is
captured, and from then on replayed. What a graph returns is overwritten by its next replay.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from foldcli.errors import first_line
from foldcli.folding.fused_blocks import FusedStack
from foldcli.model.alphafold import FoldingModel
from foldcli.shapes import Msa, Pair, Tensor

LONGEST = 512  # residues up to which the host was the limit
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captured:
    """A graph, what it reads and what it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: tuple[Msa, Pair]

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Msa, Pair]:
        for held, given in zip(self.inputs, inputs, strict=True):
            held.copy_(given)
        self.graph.replay()
        return self.outputs


class StackGraphs:
    """The graphs of all stacks for jobs of one size; in one pool of memory, since they run one after another."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.size: object = None
        self.needed, self.allowed = 0.0, 0.0
        self.called: set[Any] = set()
        self.captured: dict[Any, Captured] = {}
        self.pool: Any = None
        self.held = 0  # bytes of the pool and of the inputs
        self.failed = False

    def keep_for(self, size: object) -> None:
        """Free all graphs but those for jobs of this size; None: all."""
        if self.size != size or size is None:
            self.size, self.pool, self.held = size, None, 0
            self.called.clear()
            self.captured.clear()

    def allow(self, needed: float, allowed: float) -> None:
        """Capture graphs as long as they take at most `allowed` bytes, of which one needs at most `needed`."""
        self.needed, self.allowed = needed, allowed

    def wrap(self, model: FoldingModel) -> FoldingModel:
        """Have all stacks of a model run through graphs, from now on."""
        for module in model.modules():
            if isinstance(module, FusedStack):
                module.forward = partial(self.run, module.forward)  # type: ignore[method-assign]
        return model

    def run(self, forward: Callable[..., tuple[Msa, Pair]], *inputs: Tensor) -> tuple[Msa, Pair]:
        """What `forward` returns, by a graph where there is one or may be one."""
        key = forward, *((x.shape, x.dtype) for x in inputs)
        if key in self.captured:
            return self.captured[key].replay(inputs)
        if self.failed or inputs[1].shape[-2] > LONGEST or self.held + self.needed > self.allowed:
            return forward(*inputs)
        if key not in self.called:
            self.called.add(key)
            return forward(*inputs)
        try:
            self.captured[key] = self._capture(forward, inputs)
        except RuntimeError as error:
            self.failed = True
            self.keep_for(None)
            _log.warning("kernels are launched one by one: no CUDA graph could be captured: %s", first_line(error))
            return forward(*inputs)
        return self.captured[key].replay(inputs)

    def _capture(self, forward: Callable[..., tuple[Msa, Pair]], inputs: tuple[Tensor, ...]) -> Captured:
        before = torch.cuda.memory_reserved(self.device)
        held, graph = [x.clone() for x in inputs], torch.cuda.CUDAGraph()
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        # thread_local: another thread may copy results from the device meanwhile
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            outputs = forward(*held)
        self.held += max(0, torch.cuda.memory_reserved(self.device) - before)
        return Captured(graph, held, outputs)
