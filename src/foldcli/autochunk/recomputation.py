"""Recomputation: a value that is cheap to make from a smaller one is made again by each of its readers.

A tensor that is cast to float32 for several readers, say, is then never there whole: each reader's loop makes its own
chunks of it.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from foldcli.autochunk.graph import Block, Call, Graph, Ref, mapped
from foldcli.autochunk.shape_prop import ShapedGraph
from foldcli.autochunk.tensor_spec import TensorSpec


def recompute(shaped: ShapedGraph) -> tuple[Graph, Mapping[int, TensorSpec]]:
    """The graph in which every reader makes cheap values anew, a block inside, and its values' metadata."""
    return _Recomputation(shaped).rewritten()


class _Recomputation:
    """Rewrites one graph.

    cheap: the call that makes each cheap value; written: storages that pinned calls may write into; blocks: graphs that
    `_with_prologue` has made.
    """

    def __init__(self, shaped: ShapedGraph) -> None:
        self.shaped, self.values, self.calls = shaped, dict(shaped.values), list[Call]()
        self.fresh = itertools.count(shaped.graph.next_value)
        self.blocks: dict[Any, Graph] = {}
        self.cheap: dict[int, Call] = {}
        pinned = (value for call in shaped.graph.calls if call.pinned for value in call.operands)
        self.written = {shaped.values[value].storage for value in pinned}
        for index, call in enumerate(shaped.graph.calls):
            if self._is_cheap(index, call):
                self.cheap[call.results[0]] = call

    def _is_cheap(self, index: int, call: Call) -> bool:
        """Whether a call multiplies no matrices and makes one value, larger than all that it is made from.

        None of these may be changed by another call.
        """
        if call.pinned or index in self.shaped.blocks or len(call.results) != 1 or self.shaped.footprints[index].flops:
            return False
        made = self.shaped.values[call.results[0]]
        given = {self.shaped.values[value].storage: self.shaped.values[value] for value in self._sources(call.operands)}
        changed = self.written & {made.storage, *given}
        larger = made.nbytes > sum(spec.nbytes for spec in given.values())
        return made.storage == call.results[0] and larger and not changed

    def _sources(self, values: Iterable[int]) -> list[int]:
        """The values that these are made from, cheap ones from theirs."""
        parts = (self._sources(self.cheap[value].operands) if value in self.cheap else [value] for value in values)
        return list(dict.fromkeys(itertools.chain.from_iterable(parts)))

    def rewritten(self) -> tuple[Graph, Mapping[int, TensorSpec]]:
        for call in self.shaped.graph.calls:
            if set(call.results) & self.cheap.keys():
                continue
            whole = self._with_prologue(call) if isinstance(call.function, Block) else self._reading(call, self._again)
            self.calls.append(whole)
        output = mapped(self._again, self.shaped.graph.output)
        return replace(self.shaped.graph, calls=tuple(self.calls), output=output), self.values

    def _again(self, leaf: Any) -> Any:
        """A `Ref` to a cheap value made anew, with the calls for that; any other leaf as it is."""
        if not isinstance(leaf, Ref) or leaf.value not in self.cheap:
            return leaf
        call, number = self._reading(self.cheap[leaf.value], self._again), next(self.fresh)
        self.values[number] = replace(self.shaped.values[leaf.value], storage=number)
        self.calls.append(replace(call, results=(number,)))
        return Ref(number)

    @staticmethod
    def _reading(call: Call, change: Callable[[Any], Any]) -> Call:
        return replace(call, args=mapped(change, call.args), kwargs=mapped(change, dict(call.kwargs)))

    def _with_prologue(self, call: Call) -> Call:
        """A block that makes the cheap ones among its operands inside, from their sources; equal ones share a graph."""
        kept = [leaf for leaf in call.args if leaf.value not in self.cheap]
        made = [place for place, leaf in enumerate(call.args) if leaf.value in self.cheap]
        if not made:
            return call
        sources = self._sources(call.args[place].value for place in made)
        key = id(call.function.graph), tuple((place, call.args[place].value) for place in made)  # type: ignore[attr-defined]
        if key not in self.blocks:
            self.blocks[key] = self._prologue(call, made, sources)
        function = replace(call.function, graph=self.blocks[key])  # type: ignore[type-var]
        return replace(call, function=function, args=(*kept, *map(Ref, sources)))

    def _prologue(self, call: Call, made: list[int], sources: list[int]) -> Graph:
        """A block's graph with the calls before it that make the operands in these places, from inputs of their own."""
        graph: Graph = call.function.graph  # type: ignore[attr-defined]
        fresh = itertools.count(graph.next_value)
        inner = {value: next(fresh) for value in sources}
        calls: list[Call] = []

        def made_inside(leaf: Any) -> Any:
            if not isinstance(leaf, Ref):
                return leaf
            if leaf.value not in inner:
                own = self._reading(self.cheap[leaf.value], made_inside)
                inner[leaf.value] = places.get(leaf.value, next(fresh))
                calls.append(replace(own, results=(inner[leaf.value],)))
            return Ref(inner[leaf.value])

        places = {call.args[place].value: graph.inputs[place] for place in made}
        for place in made:
            made_inside(call.args[place])
        inputs = [number for place, number in enumerate(graph.inputs) if place not in made]
        return replace(graph, inputs=(*inputs, *(inner[value] for value in sources)), calls=(*calls, *graph.calls))
