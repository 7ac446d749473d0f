"""Shape propagation: for a graph at given sizes, every value's shape and storage and every call's footprint.

A call that nothing is known of runs on fake tensors; so far as all are known, no tensor is made.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.footprint import Footprint
from foldcli.autochunk.graph import Block, Call, Graph, Size, mapped, tensors
from foldcli.autochunk.known_calls import call_key, given_specs, known_calls, run_call
from foldcli.autochunk.tensor_spec import TensorSpec, memory_of, spec_of, specs_of

# A fake tensor for a parameter's name, and for the place of one among a graph's inputs.
Parameter = Callable[[str], Tensor]
Given = Callable[[int], Tensor]


class GuardFailed(Exception):
    """A captured graph does not hold at these sizes: the module would have called something else."""


@dataclass(frozen=True)
class ShapedGraph:
    """A graph at given sizes.

    values: each value's metadata; footprints: of each call, in order; blocks: shaped graphs of those calls that are
    blocks, by index; parameter: a fake one, by name.
    """

    graph: Graph
    values: Mapping[int, TensorSpec]
    footprints: tuple[Footprint, ...]
    blocks: Mapping[int, "ShapedGraph"]
    parameter: Parameter

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for equal blocks at equal sizes."""
        return _key(self.graph, [self.values[value] for value in self.graph.inputs])


@contextmanager
def _on_fakes(mode: FakeTensorMode) -> Iterator[None]:
    """Calls take fake tensors, and torch does not log those that fail: that is how a graph is found not to hold."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        with mode, torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        log.disabled = before


def propagate_shapes(graph: Graph, inputs: Sequence[Tensor], parameter: Parameter, mode: FakeTensorMode) -> ShapedGraph:
    """The graph at the sizes of fake inputs; GuardFailed if it does not hold there."""
    with _on_fakes(mode):
        return _Replay(graph, parameter, mode, {}, inputs.__getitem__).run(specs_of(inputs))


def propagate_shapes_like(graph: Graph, like: ShapedGraph, mode: FakeTensorMode) -> ShapedGraph:
    """The graph at the sizes that another graph with the same inputs has; blocks shaped there are not run again."""
    inputs = [replace(like.values[value], storage=value, offset=0) for value in graph.inputs]
    with _on_fakes(mode):
        known = {inner.key: inner for inner in like.blocks.values()}
        return _Replay(graph, like.parameter, mode, known, lambda place: inputs[place].empty()).run(inputs)


class _Replay:
    """Goes through a graph once; known: shaped graphs of blocks, by `ShapedGraph.key`."""

    def __init__(
        self, graph: Graph, parameter: Parameter, mode: FakeTensorMode, known: dict[Any, ShapedGraph], given: Given
    ) -> None:
        self.graph, self.parameter, self.mode, self.known, self.given = graph, parameter, mode, known, given
        self.values: dict[int, TensorSpec] = {}
        self.tensors: dict[int, Tensor] = {}  # of those values that a call needed
        self.storages: dict[int, int] = {}  # the first value with a memory, by the memory's number

    def run(self, inputs: Sequence[TensorSpec]) -> ShapedGraph:
        first: dict[int, int] = {}
        for value, spec in zip(self.graph.inputs, inputs, strict=True):
            self.values.setdefault(value, replace(spec, storage=first.setdefault(spec.storage, value)))
        for value, name in self.graph.parameters.items():
            self._note(value, self.parameter(name))
        calls, footprints, blocks = [], [], {}
        for index, call in enumerate(self.graph.calls):
            call = replace(call, args=mapped(self._sized, call.args), kwargs=mapped(self._sized, dict(call.kwargs)))
            if isinstance(call.function, Block):
                blocks[index] = inner = self._block(call.function, call.operands)
                call = replace(call, function=replace(call.function, graph=inner.graph))
                made = [replace(inner.values[v], storage=value, offset=0)
                        for v, value in zip(inner.graph.outputs, call.results, strict=True)]  # fmt: skip
                self.values.update(zip(call.results, made, strict=True))
                footprints.append(_total(inner.footprints))
            else:
                footprints.append(self._run(call))
            calls.append(call)
        self._check_guards()
        output = mapped(self._sized, self.graph.output)
        graph = replace(self.graph, calls=tuple(calls), output=output, sizes={}, guards=())
        return ShapedGraph(graph, self.values, tuple(footprints), blocks, self.parameter)

    def _run(self, call: Call) -> Footprint:
        """The footprint of a call, whose results are noted."""
        written = call.args, dict(call.kwargs)
        given = given_specs(*written, self.values.__getitem__)
        key, known = call_key(call.function, *written, given), known_calls(self.mode)
        before = None if call.pinned else known.get(key)
        if before is not None and before.results is not None:
            self._check_count(call, len(before.results))
            for value, result in zip(call.results, before.results, strict=True):
                self.values.setdefault(value, result.spec(value, given))
            return before.footprint
        args, kwargs = call.filled(self._tensor)
        try:
            found, now = run_call(call.function, args, kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            raise GuardFailed(str(error)) from error
        if not call.pinned:
            known[key] = now
        self._check_count(call, len(tensors(found)))
        for value, tensor in zip(call.results, tensors(found), strict=True):
            self._note(value, tensor)
        return now.footprint

    def _check_count(self, call: Call, found: int) -> None:
        if found != len(call.results):
            raise GuardFailed(f"{call.function} gives {found} results")

    def _block(self, block: Block, operands: Sequence[int]) -> ShapedGraph:
        specs = [self.values[value] for value in operands]
        key = _key(block.graph, specs)
        if key not in self.known:
            inner = _Replay(
                block.graph, lambda name: self.parameter(block.prefix + name), self.mode, self.known,
                lambda place: self._tensor(operands[place]),
            )  # fmt: skip
            self.known[key] = found = inner.run(specs)
            self.known[found.key] = found
        return self.known[key]

    def _note(self, value: int, tensor: Tensor) -> None:
        self.tensors[value] = tensor
        storage = self.storages.setdefault(memory_of(tensor), value)
        self.values.setdefault(value, spec_of(tensor, storage))

    def _tensor(self, value: int) -> Tensor:
        """A fake tensor for a value, made if there is none yet."""
        if value not in self.tensors:
            spec = self.values[value]
            if value in self.graph.inputs:
                made = self.given(self.graph.inputs.index(value))
            elif spec.storage == value:
                made = spec.empty()
            else:
                made = self._tensor(spec.storage).as_strided(spec.shape, spec.stride, spec.offset)
            self.storages.setdefault(memory_of(made), spec.storage)
            self.tensors[value] = made
        return self.tensors[value]

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
