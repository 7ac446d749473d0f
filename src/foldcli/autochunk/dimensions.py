"""Along which dimensions a call may be run slice by slice: one rule for each family of operators, none is a barrier."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foldcli.autochunk.graph import Call, Ref, mapped, name_of

# How a slice's call differs from the whole one: (arguments, keyword arguments, steps in the slice) to arguments.
Adapt = Callable[[tuple[Any, ...], dict[str, Any], int], tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Cut:
    """A dimension that is sliced: each step of an axis takes `step` of its entries."""

    dim: int
    step: int = 1


@dataclass(frozen=True, eq=False)  # found once for each call: told apart by identity, which is fast
class Chunking:
    """A way to run a call in slices: slices of these operands, the others whole, give this slice of every result.

    operands: by their place among the call's operands; length: how many steps there are.
    """

    operands: tuple[Cut | None, ...]
    results: tuple[Cut, ...]
    length: int
    adapt: Adapt | None = None


@dataclass(frozen=True)
class Operand:
    """A tensor among the arguments that a rule looks at; `place` is its place among the operands."""

    place: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CallSite:
    """A call as a rule sees it: `Operand`s for tensors, shapes of the results."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    operands: tuple[Operand, ...]
    results: tuple[tuple[int, ...], ...]

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or, failing that, its name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)

    def chunking(self, cuts: Mapping[Operand, int], results: Iterable[int], adapt: Adapt | None = None) -> Chunking:
        """One that takes single entries of these dimensions of operands and results."""
        ends = tuple(Cut(dim % len(shape)) for dim, shape in zip(results, self.results, strict=True))
        starts: list[Cut | None] = [None] * len(self.operands)
        for operand, dim in cuts.items():
            starts[operand.place] = Cut(dim % len(operand.shape))
        return Chunking(tuple(starts), ends, self.results[0][ends[0].dim], adapt)


Rule = Callable[[CallSite], Iterator[Chunking]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Make a function the rule of the operators with these names."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def chunkings(call: Call, shapes: Callable[[int], tuple[int, ...]]) -> list[Chunking]:
    """All ways to run a call in slices, each longer than one step; `shapes` gives the shape of a value."""
    found = RULES.get(name_of(call.function))
    if found is None or call.pinned or not call.results:
        return []
    operands: list[Operand] = []

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, Ref):
            return leaf
        operands.append(Operand(len(operands), shapes(leaf.value)))
        return operands[-1]

    args, kwargs = mapped(place, (call.args, dict(call.kwargs)))
    results = tuple(shapes(value) for value in call.results)
    site = CallSite(name_of(call.function), args, kwargs, tuple(operands), results)
    try:
        return [chunking for chunking in found(site) if chunking.length > 1 and _consistent(chunking, site)]
    except (TypeError, AttributeError, IndexError, KeyError, ValueError):
        return []  # a form of the operator that its rule does not know is a barrier


def _consistent(chunking: Chunking, site: CallSite) -> bool:
    """Whether the steps cover each sliced dimension exactly."""
    starts = [(cut, operand.shape) for cut, operand in zip(chunking.operands, site.operands, strict=True) if cut]
    ends = list(zip(chunking.results, site.results, strict=True))
    return all(shape[cut.dim] == cut.step * chunking.length for cut, shape in [*starts, *ends])


def kept_dimensions(shape: tuple[int, ...], gone: Iterable[int]) -> list[int]:
    """The dimensions of a shape that are not among `gone`, which may count from the end."""
    without = {dim % len(shape) for dim in gone}
    return [dim for dim in range(len(shape)) if dim not in without]


def matched_blocks(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Pairs of dimensions of a tensor and of its reshaped form that can be sliced together, with both steps.

    In each group of dimensions that are merged or split the outermost ones run together.
    """
    i = j = 0
    while True:
        i = next((dim for dim in range(i, len(before)) if before[dim] != 1), len(before))
        j = next((dim for dim in range(j, len(after)) if after[dim] != 1), len(after))
        if i == len(before) or j == len(after):
            return
        first, last = i + 1, j + 1
        left, right = before[i], after[j]
        while left != right:
            if left < right:
                if first == len(before):
                    return
                left, first = left * before[first], first + 1
            else:
                if last == len(after):
                    return
                right, last = right * after[last], last + 1
        common = math.gcd(before[i], after[j])
        if common > 1:
            yield i, before[i] // common, j, after[j] // common
        i, j = first, last
