"""Dimension flow: along which dimensions a call may run in chunks, by one rule for each family of operators.

A call without a rule stays whole: it runs outside every loop's body.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foldcli.autochunk.graph import Call, Ref, mapped, name_of

# Changes a call's arguments for a chunk, such as sizes: (args, kwargs, chunk size) → (args, kwargs).
Adapt = Callable[[tuple[Any, ...], dict[str, Any], int], tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Cut:
    """How a tensor is chunked: along `dim`, `step` entries for each step of the loop."""

    dim: int
    step: int = 1


@dataclass(frozen=True, eq=False)  # each is made once: compared by identity, which is fast
class Chunking:
    """One way to run a call in chunks: from chunks of some operands come the same chunks of every result.

    operands: how each is chunked, None if it is read whole; length: steps of the loop, of which a chunk has several;
    adapt: changes the arguments for a chunk, if they depend on its size.
    """

    operands: tuple[Cut | None, ...]
    results: tuple[Cut, ...]
    length: int
    adapt: Adapt | None = None


@dataclass(frozen=True)
class Operand:
    """A tensor argument as a rule sees it: its shape and its index among the call's operands."""

    place: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CallSite:
    """A call as a rule sees it: `Operand`s in place of tensors, and the shapes of the results."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    operands: tuple[Operand, ...]
    results: tuple[tuple[int, ...], ...]

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by position or, if it was not passed so, by name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)

    def chunking(self, cuts: Mapping[Operand, int], results: Iterable[int], adapt: Adapt | None = None) -> Chunking:
        """A chunking with one entry a step: along `cuts` in operands and `results`, a dimension for each result."""
        ends = tuple(Cut(dim % len(shape)) for dim, shape in zip(results, self.results, strict=True))
        starts: list[Cut | None] = [None] * len(self.operands)
        for operand, dim in cuts.items():
            starts[operand.place] = Cut(dim % len(operand.shape))
        return Chunking(tuple(starts), ends, self.results[0][ends[0].dim], adapt)


Rule = Callable[[CallSite], Iterator[Chunking]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of the operators with these names."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def chunkings(call: Call, shapes: Callable[[int], tuple[int, ...]]) -> list[Chunking]:
    """All ways to run a call in chunks that have more than one step; shapes: gives a value's shape."""
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
        return []  # called in a way that the rule does not know: it stays whole


def _consistent(chunking: Chunking, site: CallSite) -> bool:
    """Whether the steps cover each chunked dimension exactly."""
    starts = [(cut, operand.shape) for cut, operand in zip(chunking.operands, site.operands, strict=True) if cut]
    ends = list(zip(chunking.results, site.results, strict=True))
    return all(shape[cut.dim] == cut.step * chunking.length for cut, shape in [*starts, *ends])


def kept_dimensions(shape: tuple[int, ...], gone: Iterable[int]) -> list[int]:
    """The dimensions of a shape that are not in `gone`, which may be negative."""
    without = {dim % len(shape) for dim in gone}
    return [dim for dim in range(len(shape)) if dim not in without]


def matched_blocks(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """(dimension before, step, dimension after, step) of a reshape, for all pairs that can be chunked together.

    A reshape merges and splits groups of neighbouring dimensions; in each group the outermost ones go together.
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
