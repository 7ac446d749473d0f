"""Capture: record what a module calls on fake tensors, as a graph.

Sizes that the module reads become symbols, so that one capture serves every length.
"""

import math
import re
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

from foldcli.autochunk.graph import Block, Call, Graph, Ref, Size, communicates, leaves, mapped, name_of, tensors
from foldcli.autochunk.known_calls import call_key, known_calls, run_call
from foldcli.autochunk.tensor_spec import specs_of

# Functions that read sizes, computed from the symbolic shape. Where Python needs an int, torch adds a guard.
SIZES: dict[str, Callable[..., Any]] = {
    "shape": lambda shape: shape,
    "size": lambda shape, dim=None: shape if dim is None else shape[dim],
    "numel": math.prod,
    "nelement": math.prod,
    "__len__": lambda shape: int(shape[0]),
}
RANDOM = re.compile(r"bernoulli|dropout|multinomial|normal_?$|rand")


def fake_tensors(tree: Any, mode: FakeTensorMode, device: torch.device | None = None) -> Any:
    """The same tree with every tensor fake (without memory), on `device` or, if None, on the device that it was on."""

    def fake(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device=device or leaf.device)

    with mode, torch.inference_mode(False):
        return mapped(fake, tree)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; shared ones appear under each of their names."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))
    }  # fmt: skip


class FakeParameters:
    """A module's parameters and buffers as fake tensors on a device, each made when it is first asked for."""

    def __init__(self, module: nn.Module, mode: FakeTensorMode, device: torch.device) -> None:
        self.real, self.mode, self.device = named_tensors(module), mode, device
        self.made: dict[str, Tensor] = {}

    def __call__(self, name: str) -> Tensor:
        if name not in self.made:
            self.made[name] = fake_tensors(self.real[name], self.mode, self.device)
        return self.made[name]


def capture(
    module: nn.Module, inputs: tuple[Any, ...], parameter: FakeParameters, kinds: tuple[type[nn.Module], ...] = ()
) -> Graph:
    """The graph of `module(*inputs)`; each block in a module list is one call, with a graph of its own.

    inputs: fake tensors of the parameters' mode; kinds: of modules that are one call too. Raises what the module raises
    if its control flow depends on a tensor's data.
    """
    recorder = Recorder(parameter)
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        parameter.mode,
        recorder.blocks_as_calls(module, kinds),
        recorder,
    ):
        return recorder.tape_of(lambda: module(*inputs), tensors(inputs), "")


@dataclass(frozen=True)
class _SymbolSource(Source):
    """A symbol's origin; `ShapeEnv` asks for one and uses only its name."""

    label: str

    @property
    def name(self) -> str:
        return self.label


class _Symbols(ShapeEnv):
    """Makes symbols, and notes no place in the model that read a size: to find one imports all of torch.export."""

    def _get_user_frame(self) -> None:
        return None


@dataclass
class Tape:
    """A graph while it is recorded.

    numbers: a tensor's value, by its id; kept: these tensors, held so that no id is used again; shapes: symbolic shapes
    that were asked for, by value; the rest as in `Graph`.
    """

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
    """Records every torch function that returns or changes a tensor on the current tape.

    The fake tensors have plain sizes, which is fast. Only a size that the module reads becomes a symbol; integers
    computed from symbols become expressions, and comparisons of symbols become guards. The module has its own
    parameters: each call gets fake ones in their place.
    """

    def __init__(self, parameter: FakeParameters) -> None:
        super().__init__()
        self.parameter = parameter
        self.names = {id(tensor): name for name, tensor in parameter.real.items()}
        self.known = known_calls(parameter.mode)
        self.tape = Tape("")
        self.symbols = _Symbols()
        self.graphs: dict[str, tuple[Graph, Any]] = {}

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(function) in SIZES:
            return SIZES[name_of(function)](self._shape(args[0]), *args[1:], **(kwargs or {}))
        if name_of(function) == "__iter__":
            with self:
                return iter(torch.unbind(args[0]))
        plain_args, plain_kwargs = mapped(self._plain, (args, dict(kwargs or {})))
        operands = tensors((plain_args, plain_kwargs))
        versions = [tensor._version for tensor in operands]
        result, taken = run_call(function, plain_args, plain_kwargs)
        changed = versions != [tensor._version for tensor in operands]
        if not changed and not tensors(result):
            return result
        if not changed:
            self.known[call_key(function, plain_args, plain_kwargs, specs_of(operands))] = taken
            # a result that is an operand itself, as of contiguous(), gets a value of its own
            same = {id(tensor) for tensor in operands}
            result = mapped(lambda x: torch.ops.aten.alias(x) if id(x) in same else x, result)
        self._write(function, args, dict(kwargs or {}), result, changed or _fixed_in_order(function, plain_kwargs))
        return result

    def _plain(self, leaf: Any) -> Any:
        """What a function gets: a symbol's size, and a fake tensor in place of a parameter."""
        if isinstance(leaf, torch.SymInt):
            return leaf.node.hint
        return self.parameter(self.names[id(leaf)]) if id(leaf) in self.names else leaf

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
                return leaf  # a constant
            self.tape.parameters[self.tape.add(leaf)] = self.names[id(leaf)].removeprefix(self.tape.prefix)
        return Ref(self.tape.numbers[id(leaf)])

    def _shape(self, tensor: Tensor) -> torch.Size:
        """The sizes of a tensor, as symbols unless it is a parameter or a constant."""
        number = self.tape.numbers.get(id(tensor))
        if number is None or number in self.tape.parameters:
            return tensor.shape
        if number not in self.tape.shapes:
            sizes = [self._symbol(number, dim, size) for dim, size in enumerate(tensor.shape)]
            self.tape.shapes[number] = torch.Size(sizes)
        return self.tape.shapes[number]

    def _symbol(self, number: int, dim: int, size: int) -> Any:
        source = _SymbolSource(f"size_{id(self.tape)}_{len(self.tape.sizes)}")
        symbol = self.symbols.create_symbol(size, source, DimDynamic.DYNAMIC, do_not_specialize_zero_one=True)
        self.tape.sizes[symbol] = number, dim
        return self.symbols.create_symintnode(symbol, hint=size, source=source)

    def tape_of(self, work: Callable[[], Any], inputs: list[Tensor], prefix: str) -> Graph:
        """The graph of what `work` calls, recorded on a new tape."""
        before, self.tape = self.tape, Tape(prefix)
        first = len(self.symbols.guards)
        try:
            tape, numbers = self.tape, tuple(self.tape.add(tensor) for tensor in inputs)
            output = mapped(self._ref, work())
            calls = live_calls(tape.calls, output, (value for value, _ in tape.sizes.values()))
            own = tape.sizes.keys()
            guards = [g.expr for g in self.symbols.guards[first:] if g.expr.free_symbols & own]
            return Graph(numbers, tape.parameters, calls, output, tape.sizes, tuple(guards))
        finally:
            self.tape = before

    def _block(self, work: Callable[[], Any], inputs: list[Tensor], prefix: str) -> tuple[Graph, Any]:
        """The graph of a block, and the block's results."""
        results: list[Any] = []

        def kept() -> Any:
            results.append(work())
            return results[0]

        return self.tape_of(kept, inputs, prefix), results[0]

    @contextmanager
    def blocks_as_calls(self, module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[None]:
        """Inside the context, each block of a module list is recorded as one call, and each module of these kinds."""
        listed = {id(block) for several in module.modules() if isinstance(several, nn.ModuleList) for block in several}
        blocks = [
            (name, block) for name, block in module.named_modules()
            if isinstance(block, kinds) or (id(block) in listed and any(True for _ in block.children()))
        ]  # fmt: skip
        for name, block in blocks:
            block.forward = self._as_one_call(f"{name}.", block, block.forward)
        try:
            yield
        finally:
            for _, block in blocks:
                del block.forward

    def _as_one_call(self, prefix: str, block: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            given = args, kwargs
            with torch._C.DisableTorchFunction():
                shapes = [(name, p.shape, p.dtype) for name, p in block.named_parameters()]
                key = repr((type(block), block.training, shapes, [_signature(leaf) for leaf in leaves(given)]))
            if key not in self.graphs:
                self.graphs[key] = self._block(lambda: forward(*args, **kwargs), tensors(given), prefix)
            graph, like = self.graphs[key]
            with torch._C.DisableTorchFunction():
                result = mapped(lambda x: torch.empty_like(x) if isinstance(x, Tensor) else x, like)
            self._write(Block(prefix.removeprefix(self.tape.prefix), graph), tuple(tensors(given)), {}, result)
            return result

        return call


def live_calls(calls: Sequence[Call], output: Any, measured: Iterable[int]) -> tuple[Call, ...]:
    """Dead code elimination: the calls and blocks' results that something reads, and all pinned calls.

    An unused result of a block would stay alive until the block ends. measured: values whose sizes are read.
    """
    read = {leaf.value for leaf in leaves(output) if isinstance(leaf, Ref)}.union(measured)
    kept: list[Call] = []
    for call in reversed(calls):
        if call.pinned or not read.isdisjoint(call.results):
            kept.append(_trimmed(call, read))
            read.update(call.operands)
    return tuple(reversed(kept))


def _trimmed(call: Call, read: set[int]) -> Call:
    """A block without its unread results; any other call as it is."""
    if not isinstance(call.function, Block) or read.issuperset(call.results):
        return call
    chosen = [value in read for value in call.results]
    graph = call.function.graph
    output = [Ref(value) for value in compress(graph.outputs, chosen)]
    calls = live_calls(graph.calls, output, (value for value, _ in graph.sizes.values()))
    block = replace(call.function, graph=replace(graph, calls=calls, output=output))
    return replace(call, function=block, results=tuple(compress(call.results, chosen)))


def _signature(leaf: Any) -> Any:
    return (tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _fixed_in_order(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call draws random numbers or is a collective, so that its place is fixed."""
    drawn = RANDOM.match(name_of(function)) and kwargs.get("training", True)
    return bool(drawn) or communicates(function)
