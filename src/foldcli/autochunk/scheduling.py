"""Scheduling: reorder a graph's calls so that fewer bytes are alive at once and more calls can share a loop."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from foldcli.autochunk.graph import Block, Call, Graph, Ref, communicates, mapped
from foldcli.autochunk.tensor_spec import TensorSpec


def as_late_as_possible(graph: Graph, values: Mapping[int, TensorSpec]) -> Graph:
    """As-late-as-possible list scheduling: calls are placed from the last to the first, each once all its users are.

    Of the calls that are ready, views are placed first and blocks last, since no loop can save a block's memory; among
    the others the one that allocates most, so that large results are made shortly before use. A graph with pinned calls
    keeps its order, but for `_sunk`.
    """
    if any(call.pinned for call in graph.calls):
        return _sunk(graph, values)
    producer = {value: index for index, call in enumerate(graph.calls) for value in call.results}
    producers = [{producer[value] for value in call.operands if value in producer} for call in graph.calls]
    unplaced_users = Counter(itertools.chain.from_iterable(producers))
    ready = {index for index in range(len(graph.calls)) if not unplaced_users[index]}
    priorities, placed = [_priority(call, values) for call in graph.calls], list[Call]()
    while ready:
        chosen = min(ready, key=lambda index: (priorities[index], index))
        ready.remove(chosen)
        placed.append(graph.calls[chosen])
        unplaced_users.subtract(producers[chosen])
        ready |= {index for index in producers[chosen] if not unplaced_users[index]}
    return replace(graph, calls=tuple(reversed(placed)))


def _sunk(graph: Graph, values: Mapping[int, TensorSpec]) -> Graph:
    """Each call that makes more than it reads, for one reader, just before that: both may then share a loop.

    It then no longer overlaps a transfer that is awaited between. Nothing moves past a call that may write into what it
    reads.
    """
    calls = list(graph.calls)
    for call in reversed(graph.calls):
        readers = [at for at, other in enumerate(calls) if set(call.results) & set(other.operands)]
        if call.pinned or len(call.results) != 1 or len(readers) != 1 or call.results[0] in graph.outputs:
            continue
        roots = {values[value].storage for value in call.operands}
        large = values[call.results[0]].nbytes > sum(values[value].nbytes for value in dict.fromkeys(call.operands))
        first = next(at for at, other in enumerate(calls) if other is call)
        between = (other for other in calls[first : readers[0]] if other.pinned and not communicates(other.function))
        written = {values[value].storage for other in between for value in other.operands}
        if large and not roots & written:
            calls.insert(readers[0] - 1, calls.pop(first))
    return replace(graph, calls=tuple(calls))


def _priority(call: Call, values: Mapping[int, TensorSpec]) -> tuple[bool, bool, int]:
    """Priority of a ready call, the least first: whether it allocates, whether it is a block, its bytes negated."""
    roots = {values[value].storage for value in call.operands}
    made = sum(values[value].nbytes for value in call.results if values[value].storage not in roots)
    return made > 0, isinstance(call.function, Block), -made


def duplicate_views(graph: Graph, values: Mapping[int, TensorSpec]) -> tuple[Graph, Mapping[int, TensorSpec]]:
    """The same calls with a view of its own for each reader, and the values' metadata.

    A view that two readers share would force them into one loop, chunked alike, or out of any.
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
