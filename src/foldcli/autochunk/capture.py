"""Record what a module calls, on tensors without memory; sizes are symbols, so that one capture serves every length."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import Source
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv
from torch.overrides import TorchFunctionMode

from foldcli.autochunk.graph import Block, Call, Graph, Ref, Size, leaves, mapped, name_of, tensors

# What tells of sizes, by the shape; an int that Python needs holds for this size alone, as the symbols then note.
SIZES: dict[str, Callable[..., Any]] = {
    "shape": lambda shape: shape,
    "size": lambda shape, dim=None: shape if dim is None else shape[dim],
    "numel": math.prod,
    "nelement": math.prod,
    "__len__": lambda shape: int(shape[0]),
}
RANDOM = ("bernoulli", "dropout", "multinomial", "normal", "rand")


def fake_tensors(tree: Any, mode: FakeTensorMode, device: torch.device | None = None) -> Any:
    """The same tree with tensors without memory, on a device if it is named, else each on its own."""

    def fake(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device=device or leaf.device)

    with mode, torch.inference_mode(False):
        return mapped(fake, tree)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by all their names."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))
    }  # fmt: skip


def capture(module: nn.Module, inputs: tuple[Any, ...], mode: FakeTensorMode) -> Graph:
    """What `module(*inputs)` calls, on fake tensors: a block of a module list is one call.

    Raises what the module raises where its way depends on the numbers in a tensor and not on sizes alone.
    """
    parameters = fake_tensors(named_tensors(module), mode, tensors(inputs)[0].device)
    recorder = Recorder(parameters)
    with torch.inference_mode(False), torch.no_grad(), mode, recorder.blocks_whole(module), recorder:
        return recorder.tape_of(lambda: torch.func.functional_call(module, parameters, inputs), tensors(inputs), "")


@dataclass(frozen=True)
class _Read(Source):
    """Where a symbol comes from, as the symbols' bookkeeping wants it named."""

    label: str

    @property
    def name(self) -> str:
        return self.label


@dataclass
class Tape:
    """Calls as they are recorded; `numbers` finds a tensor's value, which `kept` keeps from being forgotten."""

    prefix: str
    numbers: dict[int, int] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    parameters: dict[int, str] = field(default_factory=dict)
    sizes: dict[Any, tuple[int, int]] = field(default_factory=dict)
    shapes: dict[int, torch.Size] = field(default_factory=dict)

    def add(self, tensor: Tensor) -> int:
        self.kept.append(tensor)
        return self.numbers.setdefault(id(tensor), len(self.kept) - 1)


class Recorder(TorchFunctionMode):
    """Writes every function of torch that gives or changes a tensor onto the tape that is running.

    Tensors have plain sizes, which is fast; only a size that the module reads is a symbol, and what it computes from
    symbols, or decides by them, is an expression.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(tensor): name for name, tensor in parameters.items()}
        self.tape = Tape("")
        self.symbols = ShapeEnv()
        self.graphs: dict[str, tuple[Graph, Any]] = {}

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(function) in SIZES:
            return SIZES[name_of(function)](self._shape(args[0]), *args[1:], **(kwargs or {}))
        if name_of(function) == "__iter__":
            with self:
                return iter(torch.unbind(args[0]))
        plain_args, plain_kwargs = mapped(_plain, (args, dict(kwargs or {})))
        operands = tensors((plain_args, plain_kwargs))
        versions = [tensor._version for tensor in operands]
        result = function(*plain_args, **plain_kwargs)
        changed = versions != [tensor._version for tensor in operands]
        if not changed and not tensors(result):
            return result
        if not changed:  # what comes back as it went in, as from contiguous(), gets a name of its own
            same = {id(tensor) for tensor in operands}
            result = mapped(lambda x: torch.ops.aten.alias(x) if id(x) in same else x, result)
        self._write(function, args, dict(kwargs or {}), result, changed or _has_its_place(function, plain_kwargs))
        return result

    def _write(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any, pinned: bool = False) -> None:
        refs = mapped(self._ref, args), mapped(self._ref, kwargs)
        results = tuple(self.tape.add(tensor) for tensor in tensors(result))
        self.tape.calls.append(Call(function, *refs, results, pinned))

    def _ref(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.SymInt):
            expression = leaf.node.expr
            return Size(expression) if expression.free_symbols <= self.tape.sizes.keys() else int(leaf)
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) not in self.tape.numbers:
            if id(leaf) not in self.names:
                return leaf  # a constant of the program
            self.tape.parameters[self.tape.add(leaf)] = self.names[id(leaf)].removeprefix(self.tape.prefix)
        return Ref(self.tape.numbers[id(leaf)])

    def _shape(self, tensor: Tensor) -> torch.Size:
        """Sizes as symbols, each named for the value and axis that it is read from."""
        number = self.tape.numbers.get(id(tensor))
        if number is None or number in self.tape.parameters:
            return tensor.shape
        if number not in self.tape.shapes:
            sizes = [self._symbol(number, axis, size) for axis, size in enumerate(tensor.shape)]
            self.tape.shapes[number] = torch.Size(sizes)
        return self.tape.shapes[number]

    def _symbol(self, number: int, axis: int, size: int) -> Any:
        source = _Read(f"size_{id(self.tape)}_{len(self.tape.sizes)}")
        symbol = self.symbols.create_symbol(size, source, DimDynamic.DYNAMIC, do_not_specialize_zero_one=True)
        self.tape.sizes[symbol] = number, axis
        return self.symbols.create_symintnode(symbol, hint=size, source=source)

    def tape_of(self, work: Callable[[], Any], inputs: list[Tensor], prefix: str) -> Graph:
        """The graph of what `work` calls, on a tape of its own."""
        before, self.tape = self.tape, Tape(prefix)
        first = len(self.symbols.guards)
        try:
            tape, numbers = self.tape, tuple(self.tape.add(tensor) for tensor in inputs)
            output = mapped(self._ref, work())
            calls = read_calls(tape.calls, output, (value for value, _ in tape.sizes.values()))
            own = tape.sizes.keys()
            guards = [g.expr for g in self.symbols.guards[first:] if g.expr.free_symbols & own]
            return Graph(numbers, tape.parameters, calls, output, tape.sizes, tuple(guards))
        finally:
            self.tape = before

    def _block(self, work: Callable[[], Any], inputs: list[Tensor], prefix: str) -> tuple[Graph, Any]:
        """The graph of a block, and what it returns."""
        results: list[Any] = []

        def kept() -> Any:
            results.append(work())
            return results[0]

        return self.tape_of(kept, inputs, prefix), results[0]

    @contextmanager
    def blocks_whole(self, module: nn.Module) -> Iterator[None]:
        """While in it, every block of a module list is recorded as one call."""
        blocks = [
            (f"{name}.{index}." if name else f"{index}.", block)
            for name, several in module.named_modules() if isinstance(several, nn.ModuleList)
            for index, block in enumerate(several) if any(True for _ in block.children())
        ]  # fmt: skip
        for prefix, block in blocks:
            block.forward = self._whole(prefix, block, block.forward)
        try:
            yield
        finally:
            for _, block in blocks:
                del block.forward

    def _whole(self, prefix: str, block: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        shapes = [(name, p.shape, p.dtype) for name, p in block.named_parameters()]

        def call(*args: Any) -> Any:
            key = repr((type(block), block.training, shapes, [_signature(leaf) for leaf in leaves(args)]))
            if key not in self.graphs:
                self.graphs[key] = self._block(lambda: forward(*args), tensors(args), prefix)
            graph, like = self.graphs[key]
            with torch._C.DisableTorchFunction():
                result = mapped(lambda x: torch.empty_like(x) if isinstance(x, Tensor) else x, like)
            self._write(Block(prefix, graph), tuple(tensors(args)), {}, result)
            return result

        return call


def read_calls(calls: Sequence[Call], output: Any, measured: Iterable[int]) -> tuple[Call, ...]:
    """The calls that give what anybody reads; of blocks only those results, since others would be kept to their end.

    measured: values whose sizes are asked for.
    """
    read = {leaf.value for leaf in leaves(output) if isinstance(leaf, Ref)}.union(measured)
    kept: list[Call] = []
    for call in reversed(calls):
        if call.pinned or not read.isdisjoint(call.results):
            kept.append(_trimmed(call, read))
            read.update(call.operands)
    return tuple(reversed(kept))


def _trimmed(call: Call, read: set[int]) -> Call:
    """A block with those of its results that are read; any other call as it is."""
    if not isinstance(call.function, Block) or read.issuperset(call.results):
        return call
    chosen = [value in read for value in call.results]
    graph = call.function.graph
    output = [Ref(value) for value in compress(graph.outputs, chosen)]
    calls = read_calls(graph.calls, output, (value for value, _ in graph.sizes.values()))
    block = replace(call.function, graph=replace(graph, calls=calls, output=output))
    return replace(call, function=block, results=tuple(compress(call.results, chosen)))


def _plain(leaf: Any) -> Any:
    return leaf.node.hint if isinstance(leaf, torch.SymInt) else leaf


def _signature(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        with torch._C.DisableTorchFunction():
            return tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.device
    return leaf


def _has_its_place(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call draws random numbers, or is one of the steps that ranks take together."""
    drawn = name_of(function).startswith(RANDOM) and kwargs.get("training", True)
    return bool(drawn) or "c10d" in str(getattr(function, "__module__", ""))
