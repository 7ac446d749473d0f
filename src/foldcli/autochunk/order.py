"""The order of calls: each as late as its results allow, what brings much memory closest to where it is needed."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from foldcli.autochunk.facts import Facts
from foldcli.autochunk.graph import Call, Graph, Ref, mapped


def late(graph: Graph, facts: Facts, tie: int) -> Graph:
    """The same calls, put from the last to the first: of those whose results are all spoken for, the one that brings
    most memory and lets least go, views before all. A graph with pinned calls keeps its order.

    tie: 1 keeps the order of those that are equal, -1 turns it.
    """
    if any(call.pinned for call in graph.calls):
        return graph
    waiting = {index: _readers(graph, call) for index, call in enumerate(graph.calls)}
    placed: list[int] = []
    alive: set[int] = set(graph.outputs)
    while waiting:
        ready = [index for index, readers in waiting.items() if not readers & waiting.keys()]
        chosen = max(ready, key=lambda index: (_growth(graph.calls[index], facts, alive), tie * index))
        del waiting[chosen]
        alive |= set(graph.calls[chosen].operands)
        placed.append(chosen)
    return replace(graph, calls=tuple(graph.calls[index] for index in reversed(placed)))


def _readers(graph: Graph, call: Call) -> set[int]:
    results = set(call.results)
    return {index for index, other in enumerate(graph.calls) if results & set(other.operands)}


def _growth(call: Call, facts: Facts, alive: set[int]) -> tuple[bool, int]:
    """Whether a call only views; bytes alive because of it: its results, less operands that nothing later reads."""
    made = sum(facts.values[value].bytes for value in call.results if facts.values[value].storage == value)
    given = {*facts.graph.inputs, *facts.graph.parameters}
    roots = {facts.values[value].storage for value in call.operands if value not in alive}
    kept = {facts.values[value].storage for value in alive}
    return made == 0, made - sum(facts.values[root].bytes for root in roots - kept - given)


def own_views(graph: Graph, facts: Facts) -> Graph:
    """The same calls with a view of its own for each reader, since a view that two share ties them together."""
    views = {
        value: call for call in graph.calls for value in call.results
        if len(call.results) == 1 and not call.pinned and facts.values[value].storage != value
    }  # fmt: skip
    fresh = itertools.count(graph.next_value)
    calls: list[Call] = []

    def again(leaf: Any) -> Any:
        if not isinstance(leaf, Ref) or leaf.value not in views:
            return leaf
        copy = _reading(views[leaf.value], again)
        calls.append(replace(copy, results=(next(fresh),)))
        return Ref(calls[-1].results[0])

    for call in graph.calls:
        if not set(call.results) & views.keys():
            calls.append(_reading(call, again))
    return replace(graph, output=mapped(again, graph.output), calls=tuple(calls))


def _reading(call: Call, change: Callable[[Any], Any]) -> Call:
    return replace(call, args=mapped(change, call.args), kwargs=mapped(change, dict(call.kwargs)))
