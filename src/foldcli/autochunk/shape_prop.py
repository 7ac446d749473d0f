"""Shape propagation: run a graph on fake tensors, for every value's shape and storage and every call's footprint."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.footprint import Footprint, measure_footprint
from foldcli.autochunk.graph import Block, Call, Graph, Size, mapped, tensors
from foldcli.autochunk.known_calls import run_call


class GuardFailed(Exception):
    """A captured graph does not hold at these sizes: the module would have called something else."""


@dataclass(frozen=True)
class TensorSpec:
    """A value's metadata; storage: the first value with the same memory; storage_bytes: what that memory takes."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    storage: int
    storage_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of its elements alone, of which a view's storage has more."""
        return math.prod(self.shape) * self.dtype.itemsize

    def empty(self) -> Tensor:
        """A new tensor of this shape and layout, fake inside a fake tensor mode."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class ShapedGraph:
    """A graph at given sizes.

    values: each value's metadata; footprints: of each call, in order; blocks: shaped graphs of those calls that are
    blocks, by index; parameters: fake ones, by name.
    """

    graph: Graph
    values: Mapping[int, TensorSpec]
    footprints: tuple[Footprint, ...]
    blocks: Mapping[int, "ShapedGraph"]
    parameters: Mapping[str, Tensor]

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for equal blocks at equal sizes."""
        return _key(self.graph, [self.values[value] for value in self.graph.inputs])


def spec(tensor: Tensor, storage: int) -> TensorSpec:
    """The metadata of a tensor; storage: the first value with its memory."""
    size = tensor.untyped_storage().nbytes()
    return TensorSpec(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device, storage, size)


def propagate_shapes(
    graph: Graph, inputs: Iterable[Tensor], parameters: Mapping[str, Tensor], mode: FakeTensorMode
) -> ShapedGraph:
    """The graph at the sizes of fake inputs; GuardFailed if it does not hold there."""
    with mode, torch.inference_mode(False), torch.no_grad():
        return _Replay(graph, dict(parameters), mode, {}).run(list(inputs))


def propagate_shapes_like(graph: Graph, like: ShapedGraph, mode: FakeTensorMode) -> ShapedGraph:
    """The graph at the sizes that another graph with the same inputs has; blocks shaped there are not run again."""
    with mode, torch.inference_mode(False), torch.no_grad():
        inputs = [like.values[value].empty() for value in graph.inputs]
        known = {inner.key: inner for inner in like.blocks.values()}
        return _Replay(graph, dict(like.parameters), mode, known).run(inputs)


class _Replay:
    """Runs a graph once; known: shaped graphs of blocks, by `ShapedGraph.key`."""

    def __init__(
        self, graph: Graph, parameters: Mapping[str, Tensor], mode: FakeTensorMode, known: dict[Any, ShapedGraph]
    ):
        self.graph, self.parameters, self.mode, self.known = graph, parameters, mode, known
        self.tensors: dict[int, Tensor] = {}
        self.values: dict[int, TensorSpec] = {}
        self.storages: dict[int, int] = {}

    def run(self, inputs: list[Tensor]) -> ShapedGraph:
        for value, tensor in zip(self.graph.inputs, inputs, strict=True):
            self._note(value, tensor)
        for value, name in self.graph.parameters.items():
            self._note(value, self.parameters[name])
        calls, footprints, blocks = [], [], {}
        for index, call in enumerate(self.graph.calls):
            call = replace(call, args=mapped(self._sized, call.args), kwargs=mapped(self._sized, dict(call.kwargs)))
            operands = [self.tensors[value] for value in call.operands]
            if isinstance(call.function, Block):
                blocks[index] = inner = self._block(call.function, operands, [self.values[v] for v in call.operands])
                call = replace(call, function=replace(call.function, graph=inner.graph))
                results, footprint = [inner.values[v].empty() for v in inner.graph.outputs], _total(inner.footprints)
            else:
                results, footprint = self._run(call, operands)
            if len(results) != len(call.results):
                raise GuardFailed(f"{call.function} gives {len(results)} results")
            for value, tensor in zip(call.results, results, strict=True):
                self._note(value, tensor)
            calls.append(call)
            footprints.append(footprint)
        self._check_guards()
        output = mapped(self._sized, self.graph.output)
        graph = replace(self.graph, calls=tuple(calls), output=output, sizes={}, guards=())
        return ShapedGraph(graph, self.values, tuple(footprints), blocks, self.parameters)

    def _run(self, call: Call, operands: list[Tensor]) -> tuple[list[Tensor], Footprint]:
        args, kwargs = call.filled(self.tensors.__getitem__)
        try:
            if call.pinned:
                return measure_footprint(lambda: tensors(call.function(*args, **kwargs)), operands)
            return run_call(self.mode, call.function, args, kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            raise GuardFailed(str(error)) from error

    def _block(self, block: Block, operands: list[Tensor], specs: list[TensorSpec]) -> ShapedGraph:
        key = _key(block.graph, specs)
        if key not in self.known:
            own = (name for name in self.parameters if name.startswith(block.prefix))
            parameters = {name.removeprefix(block.prefix): self.parameters[name] for name in own}
            self.known[key] = found = _Replay(block.graph, parameters, self.mode, self.known).run(operands)
            self.known[found.key] = found
        return self.known[key]

    def _note(self, value: int, tensor: Tensor) -> None:
        self.tensors[value] = tensor
        storage = self.storages.setdefault(tensor.untyped_storage()._cdata, value)
        if value not in self.values:
            self.values[value] = spec(tensor, storage)

    def _sized(self, leaf: Any) -> Any:
        if not isinstance(leaf, Size):
            return leaf
        return int(leaf.expression.xreplace(self._sizes(leaf.expression)))

    def _sizes(self, expression: Any) -> dict[Any, int]:
        read = {symbol: self.graph.sizes[symbol] for symbol in expression.free_symbols if symbol in self.graph.sizes}
        return {symbol: self.values[value].shape[dim] for symbol, (value, dim) in read.items()}

    def _check_guards(self) -> None:
        for guard in self.graph.guards:
            if not guard.xreplace(self._sizes(guard)):
                raise GuardFailed(str(guard))


def _key(graph: Graph, inputs: Sequence[TensorSpec]) -> tuple[Any, ...]:
    """A graph's identity, its inputs' layouts, and which of them share memory."""
    storages = [x.storage for x in inputs]
    return id(graph), tuple((x.shape, x.stride, x.dtype, storages.index(x.storage)) for x in inputs)


def _total(footprints: Iterable[Footprint]) -> Footprint:
    peaks, *others = zip(*map(astuple, footprints), strict=True)
    return Footprint(max(peaks), *map(sum, others))
