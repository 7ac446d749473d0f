"""The order of calls: each as late as its results allow, what brings much memory closest to where it is needed."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from foldcli.autochunk.graph import Block, Call, Graph, Ref, mapped
from foldcli.autochunk.shape_prop import TensorSpec


def as_late_as_possible(graph: Graph, values: Mapping[int, TensorSpec]) -> Graph:
    """The same calls, put from the last to the first, each as late as its results allow.

    Of those that may be put, views come first and blocks last, since a block takes memory that no loop can spare; among
    the others what makes most, then the first operand of what was put before. Pinned calls keep the order.
    """
    if any(call.pinned for call in graph.calls):
        return graph
    maker = {value: index for index, call in enumerate(graph.calls) for value in call.results}
    makers = [{maker[value] for value in call.operands if value in maker} for call in graph.calls]
    waited_for = Counter(itertools.chain.from_iterable(makers))
    ready = {index for index in range(len(graph.calls)) if not waited_for[index]}
    ranks, placed = [_rank(call, values) for call in graph.calls], list[Call]()
    while ready:
        chosen = min(ready, key=lambda index: (ranks[index], index))
        ready.remove(chosen)
        placed.append(graph.calls[chosen])
        waited_for.subtract(makers[chosen])
        ready |= {index for index in makers[chosen] if not waited_for[index]}
    return replace(graph, calls=tuple(reversed(placed)))


def _rank(call: Call, values: Mapping[int, TensorSpec]) -> tuple[bool, bool, int]:
    """Whether a call makes memory, whether it is a block, and bytes that it makes, negative."""
    roots = {values[value].storage for value in call.operands}
    made = sum(values[value].nbytes for value in call.results if values[value].storage not in roots)
    return made > 0, isinstance(call.function, Block), -made


def duplicate_views(graph: Graph, values: Mapping[int, TensorSpec]) -> tuple[Graph, Mapping[int, TensorSpec]]:
    """The same calls with a view of its own for each reader, since a view that two share ties them together; and what
    the values are.
    """
    changed = {value for call in graph.calls if call.pinned for value in call.results}
    views = {
        value: call for call in graph.calls for value in call.results
        if len(call.results) == 1 and value not in changed
        and values[value].storage in {values[operand].storage for operand in call.operands}
    }  # fmt: skip
    known, calls = dict(values), list[Call]()
    fresh = itertools.count(graph.next_value)

    def again(leaf: Any) -> Any:
        if not isinstance(leaf, Ref) or leaf.value not in views:
            return leaf
        copy = _with_operands(views[leaf.value], again)
        number = next(fresh)
        known[number] = values[leaf.value]
        calls.append(replace(copy, results=(number,)))
        return Ref(number)

    for call in graph.calls:
        if not set(call.results) & views.keys():
            calls.append(_with_operands(call, again))
    return replace(graph, output=mapped(again, graph.output), calls=tuple(calls)), known


def _with_operands(call: Call, change: Callable[[Any], Any]) -> Call:
    return replace(call, args=mapped(change, call.args), kwargs=mapped(change, dict(call.kwargs)))
