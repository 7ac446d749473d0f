"""What a module computes, as a list of calls: the form that every pass of this room reads."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Ref:
    """A tensor among arguments or results, by the number of its value."""

    value: int


@dataclass(frozen=True)
class Size:
    """A whole number that follows from the sizes of the inputs: a sympy expression in their symbols."""

    expression: Any


@dataclass(frozen=True)
class Call:
    """One function call; tensors in its arguments are `Ref`s, and results are numbered in the order they come.

    pinned: its place is kept, since it writes into an argument, draws random numbers or talks to other ranks.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: tuple[int, ...]
    pinned: bool = False

    @cached_property
    def operands(self) -> tuple[int, ...]:
        """The values it reads, in the order of its arguments; one may come twice."""
        return tuple(leaf.value for leaf in leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Ref))

    def filled(self, tensor: Callable[[int], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Its arguments with `tensor(value)` in the place of each operand, asked for in their order."""

        def put(leaf: Any) -> Any:
            return tensor(leaf.value) if isinstance(leaf, Ref) else leaf

        return mapped(put, self.args), mapped(put, dict(self.kwargs))


@dataclass(frozen=True)
class Graph:
    """Calls in the order of their execution. Values are numbered; a value is made once.

    inputs: tensors that the caller gives; parameters: values by their names in the module; output: what the module
    returns, with `Ref`s; sizes: value and axis behind each symbol; guards: what the calls were chosen by.
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
    """A module that is captured once and called as a whole; those that are alike share their graph.

    prefix: what comes before the names of its own parameters.
    """

    prefix: str
    graph: Graph

    def __call__(self, *_: Any) -> Any:
        raise TypeError("a block has no body of its own: run its graph")


def name_of(function: Callable[..., Any]) -> str:
    """The name that rules are found by: of a function, a method, or the property behind a getter."""
    name = getattr(function, "__name__", type(function).__name__)
    return function.__self__.__name__ if name == "__get__" else name  # type: ignore[attr-defined]


def leaves(tree: Any) -> Iterator[Any]:
    """Everything in nested tuples, lists, dictionaries, slices and dataclasses, in order."""
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
    """The same tree with every leaf changed."""
    if isinstance(tree, Ref | Size):
        return change(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(change, item) for item in tree))
    if isinstance(tree, tuple | list):  # torch.Size, which holds numbers alone, becomes a tuple
        return (list if isinstance(tree, list) else tuple)(mapped(change, item) for item in tree)
    if isinstance(tree, Mapping):
        return {key: mapped(change, item) for key, item in tree.items()}
    if isinstance(tree, slice):
        return slice(*(mapped(change, item) for item in (tree.start, tree.stop, tree.step)))
    if is_dataclass(tree) and not isinstance(tree, type):
        changed = copy(tree)
        for field in fields(tree):  # past the constructor, which may check that its fields are tensors
            object.__setattr__(changed, field.name, mapped(change, getattr(tree, field.name)))
        return changed
    return change(tree)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]
