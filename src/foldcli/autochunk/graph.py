"""The compiler's intermediate form: what a module computes, as a list of calls on numbered values."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Ref:
    """Stands for a tensor among arguments or results, by its value's number."""

    value: int


@dataclass(frozen=True)
class Size:
    """An integer computed from the inputs' sizes: a sympy expression in their symbols."""

    expression: Any


@dataclass(frozen=True)
class Call:
    """One function call, with `Ref`s for the tensors in its arguments; results: its output values, in order.

    pinned: it must not move or be chunked, since it writes into an argument, draws random numbers or communicates.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: tuple[int, ...]
    pinned: bool = False

    @cached_property
    def operands(self) -> tuple[int, ...]:
        """The values it reads, in the order of its arguments; one may appear twice."""
        return tuple(leaf.value for leaf in leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Ref))

    def filled(self, tensor: Callable[[int], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Its arguments with each operand replaced by `tensor(value)`, called in the order of the operands."""

        def put(leaf: Any) -> Any:
            return tensor(leaf.value) if isinstance(leaf, Ref) else leaf

        return mapped(put, self.args), mapped(put, dict(self.kwargs))


@dataclass(frozen=True)
class Graph:
    """Calls in the order of execution, in static single assignment form: each value is produced once.

    inputs: values that the caller passes; parameters: names in the module, by value; output: what the module returns,
    with `Ref`s for tensors; sizes: the (value, dimension) that each symbol stands for; guards: conditions on symbols,
    under which the module makes these calls.
    """

    inputs: tuple[int, ...]
    parameters: Mapping[int, str]
    calls: tuple[Call, ...]
    output: Any
    sizes: Mapping[Any, tuple[int, int]]
    guards: tuple[Any, ...]

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        return tuple(leaf.value for leaf in leaves(self.output) if isinstance(leaf, Ref))

    @property
    def next_value(self) -> int:
        made = [value for call in self.calls for value in call.results]
        return 1 + max([*self.inputs, *self.parameters, *made], default=-1)


@dataclass(frozen=True)
class Block:
    """A function that is a whole submodule with a graph of its own; equal submodules share the graph.

    prefix: that of its parameters' names in the parent module.
    """

    prefix: str
    graph: Graph

    def __call__(self, *_: Any) -> Any:
        raise TypeError("a block has no body of its own: run its graph")


def name_of(function: Callable[..., Any]) -> str:
    """The name under which a function's rule is registered; for a property's getter, the property's name."""
    name = getattr(function, "__name__", type(function).__name__)
    return function.__self__.__name__ if name == "__get__" else name  # type: ignore[attr-defined]


def communicates(function: Callable[..., Any]) -> bool:
    """Whether a function is a collective, or waits for the result of one."""
    return "c10d" in str(getattr(function, "__module__", ""))


def is_wait(call: Call) -> bool:
    """Whether a call waits for the result of a collective, its first operand."""
    return name_of(call.function) == "wait_tensor"


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves of nested tuples, lists, mappings, slices and dataclasses, in order."""
    if isinstance(tree, Ref | Size):
        yield tree
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from leaves(item)
    elif isinstance(tree, slice):
        yield from leaves((tree.start, tree.stop, tree.step))
    elif is_dataclass(tree) and not isinstance(tree, type):
        for field in fields(tree):
            yield from leaves(getattr(tree, field.name))
    else:
        yield tree


def mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with `change` applied to every leaf."""
    if isinstance(tree, Ref | Size):
        return change(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(change, item) for item in tree))
    if isinstance(tree, tuple | list):  # torch.Size, which can hold integers only, becomes a tuple
        return (list if isinstance(tree, list) else tuple)(mapped(change, item) for item in tree)
    if isinstance(tree, Mapping):
        return {key: mapped(change, item) for key, item in tree.items()}
    if isinstance(tree, slice):
        return slice(*(mapped(change, item) for item in (tree.start, tree.stop, tree.step)))
    if is_dataclass(tree) and not isinstance(tree, type):
        changed = copy(tree)
        for field in fields(tree):  # not by the constructor, which may check types
            object.__setattr__(changed, field.name, mapped(change, getattr(tree, field.name)))
        return changed
    return change(tree)


def tensors(tree: Any) -> list[Tensor]:
    """The tensors among the leaves of a tree."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]
