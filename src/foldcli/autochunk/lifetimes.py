"""When the memory of each value comes and goes while the calls run in their order."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from foldcli.autochunk.dimensions import Axis, axes
from foldcli.autochunk.facts import Facts, Spec
from foldcli.autochunk.graph import Call


@dataclass(frozen=True)
class Storage:
    """Memory of one or more values: from the call that makes it to the last that reads it, -1 for what is given."""

    bytes: int
    born: int
    dies: int


class Program:
    """A graph at given sizes with all that the search asks about it.

    donated: inputs that nobody reads afterwards, so that the program may write into them or drop them.
    """

    def __init__(self, facts: Facts, donated: frozenset[int]) -> None:
        self.facts, self.donated = facts, donated
        self.calls: tuple[Call, ...] = facts.graph.calls
        self.values = facts.values
        self.axes: Callable[[int], list[Axis]] = cache(self._axes)

    def _axes(self, index: int) -> list[Axis]:
        call = self.calls[index]
        touched = {self.values[value].storage for value in (*call.operands, *call.results)}
        return [] if touched & self.changing else axes(call, self.shape)

    @cached_property
    def changing(self) -> set[int]:
        """Storages that pinned calls may write into and that several values share: a copy of one would miss that."""
        pinned = {self.values[value].storage for call in self.calls if call.pinned for value in call.operands}
        return {storage for storage in pinned if len(self.aliases[storage]) > 1}

    def shape(self, value: int) -> tuple[int, ...]:
        return self.values[value].shape

    def spec(self, value: int) -> Spec:
        return self.values[value]

    @cached_property
    def maker(self) -> dict[int, int]:
        """The call that a value comes from."""
        return {value: index for index, call in reversed(list(enumerate(self.calls))) for value in call.results}

    @cached_property
    def readers(self) -> dict[int, list[int]]:
        """The calls that read a value, in order."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, call in enumerate(self.calls):
            for value in dict.fromkeys(call.operands):
                found[value].append(index)
        return found

    @cached_property
    def aliases(self) -> dict[int, list[int]]:
        """The values that share a storage, by the storage."""
        found: dict[int, list[int]] = defaultdict(list)
        for value, spec in self.values.items():
            found[spec.storage].append(value)
        return found

    @cached_property
    def storages(self) -> dict[int, Storage]:
        """All storages but those of parameters and of inputs that are not donated: those stay whatever is planned."""
        outputs, given = set(self.facts.graph.outputs), set(self.facts.graph.inputs)
        found = {}
        for storage, values in self.aliases.items():
            born = self.maker.get(storage, -1)
            if storage in self.facts.graph.parameters or (storage in given and storage not in self.donated):
                continue
            read = max((self.readers[value][-1] for value in values if self.readers[value]), default=born)
            made = max(self.maker.get(value, -1) for value in values)
            dies = len(self.calls) if outputs & set(values) else max(read, made)
            found[storage] = Storage(self.values[storage].bytes, born, dies)
        return found

    @cached_property
    def live(self) -> list[int]:
        """Bytes alive before each call, and after the last."""
        change = [0] * (len(self.calls) + 2)
        for storage in self.storages.values():
            change[storage.born + 1] += storage.bytes
            change[storage.dies + 1] -= storage.bytes
        total, found = 0, []
        for step in change[: len(self.calls) + 1]:
            total += step
            found.append(total)
        return found

    def dying(self, index: int) -> Sequence[int]:
        """Operands of a call whose memory nobody needs afterwards."""
        call = self.calls[index]
        return [
            v for v in dict.fromkeys(call.operands)
            if (s := self.storages.get(self.values[v].storage)) and s.dies == index and not set(call.results) & {v}
        ]  # fmt: skip
