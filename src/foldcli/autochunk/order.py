"""The order of calls: each as late as its results allow, what brings much memory closest to where it is needed."""

from dataclasses import replace

from foldcli.autochunk.facts import Facts
from foldcli.autochunk.graph import Call, Graph


def late(graph: Graph, facts: Facts) -> Graph:
    """The same calls, put from the last to the first: of those whose results are all spoken for, the one that brings
    most memory and lets least go. A graph with pinned calls keeps its order.
    """
    if any(call.pinned for call in graph.calls):
        return graph
    waiting = {index: _readers(graph, call) for index, call in enumerate(graph.calls)}
    placed: list[int] = []
    alive: set[int] = set(graph.outputs)
    while waiting:
        ready = [index for index, readers in waiting.items() if not readers & waiting.keys()]
        chosen = max(ready, key=lambda index: (_growth(graph.calls[index], facts, alive), index))
        del waiting[chosen]
        alive |= set(graph.calls[chosen].operands)
        placed.append(chosen)
    return replace(graph, calls=tuple(graph.calls[index] for index in reversed(placed)))


def _readers(graph: Graph, call: Call) -> set[int]:
    results = set(call.results)
    return {index for index, other in enumerate(graph.calls) if results & set(other.operands)}


def _growth(call: Call, facts: Facts, alive: set[int]) -> int:
    """Bytes that are alive because of a call: its results, less operands that nothing later reads."""
    made = sum(facts.values[value].bytes for value in call.results if facts.values[value].storage == value)
    given = {*facts.graph.inputs, *facts.graph.parameters}
    roots = {facts.values[value].storage for value in call.operands if value not in alive}
    kept = {facts.values[value].storage for value in alive}
    return made - sum(facts.values[root].bytes for root in roots - kept - given)
