"""Liveness: which call produces each value, which use it, and from when to when its memory is alive."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from foldcli.autochunk.dimensions import Chunking, chunkings
from foldcli.autochunk.graph import Call, communicates, is_wait
from foldcli.autochunk.host_memory import park
from foldcli.autochunk.shape_prop import ShapedGraph
from foldcli.autochunk.tensor_spec import TensorSpec


@dataclass(frozen=True)
class Storage:
    """Memory of a value and its views: the call that allocates it, -1 for an input, and the last one that uses it."""

    bytes: int
    born: int
    dies: int


class Program:
    """A shaped graph with its analyses, each done when first asked for; calls are told by their index.

    donated: inputs that nobody reads afterwards, so that the program may overwrite or free them.
    """

    def __init__(self, shaped: ShapedGraph, donated: frozenset[int]) -> None:
        self.shaped, self.donated = shaped, donated
        self.calls: tuple[Call, ...] = shaped.graph.calls
        self.values = shaped.values
        self.chunkings: Callable[[int], list[Chunking]] = cache(self._chunkings)
        self.freed_by: Callable[[int], Sequence[int]] = cache(self._freed_by)

    def _chunkings(self, index: int) -> list[Chunking]:
        call = self.calls[index]
        touched = {self.values[value].storage for value in (*call.operands, *call.results)}
        return [] if touched & self.mutated else chunkings(call, self.shape)

    @cached_property
    def mutated(self) -> set[int]:
        """Storages with several values that pinned calls may write into: a chunk's copy of one would miss the write."""
        writing = [call for call in self.calls if call.pinned and not communicates(call.function)]
        touched = {self.values[value].storage for call in writing for value in call.operands}
        return {storage for storage in touched if len(self.aliases[storage]) > 1}

    def shape(self, value: int) -> tuple[int, ...]:
        return self.values[value].shape

    def spec(self, value: int) -> TensorSpec:
        return self.values[value]

    @cached_property
    def producer(self) -> dict[int, int]:
        """The call that produces a value; inputs and parameters have none."""
        return {value: index for index, call in reversed(list(enumerate(self.calls))) for value in call.results}

    @cached_property
    def users(self) -> dict[int, list[int]]:
        """The calls that read a value, in order."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, call in enumerate(self.calls):
            for value in dict.fromkeys(call.operands):
                found[value].append(index)
        return found

    @cached_property
    def aliases(self) -> dict[int, list[int]]:
        """The values in each storage: one and its views."""
        found: dict[int, list[int]] = defaultdict(list)
        for value, spec in self.values.items():
            found[spec.storage].append(value)
        return found

    @cached_property
    def storages(self) -> dict[int, Storage]:
        """Storages on the device, but for those of parameters and of inputs not donated, which outlive the program."""
        outputs, given = set(self.shaped.graph.outputs), set(self.shaped.graph.inputs)
        found = {}
        for storage, values in self.aliases.items():
            born = self.producer.get(storage, -1)
            if storage in self.shaped.graph.parameters or (storage in given and storage not in self.donated):
                continue
            if born >= 0 and self.calls[born].function is park:
                continue
            read = max((self.users[value][-1] for value in values if self.users[value]), default=born)
            made = max(self.producer.get(value, -1) for value in values)
            dies = len(self.calls) if outputs & set(values) else max(read, made, self.sent.get(storage, -1))
            found[storage] = Storage(self.values[storage].storage_bytes, born, dies)
        return found

    @cached_property
    def sent(self) -> dict[int, int]:
        """For each storage that a collective sends, the call that awaits its result: until then it is read."""
        waits = {call.operands[0]: index for index, call in enumerate(self.calls) if is_wait(call)}
        return {
            self.values[value].storage: waits[call.results[0]]
            for call in self.calls if call.results and call.results[0] in waits for value in call.operands
        }  # fmt: skip

    @cached_property
    def live(self) -> list[int]:
        """Bytes alive before each call, and after the last one."""
        change = [0] * (len(self.calls) + 2)
        for storage in self.storages.values():
            change[storage.born + 1] += storage.bytes
            change[storage.dies + 1] -= storage.bytes
        total, found = 0, []
        for step in change[: len(self.calls) + 1]:
            total += step
            found.append(total)
        return found

    def _freed_by(self, index: int) -> Sequence[int]:
        """Operands of a call whose memory is freed after it: it is their last use."""
        call = self.calls[index]
        return [
            v for v in dict.fromkeys(call.operands)
            if (s := self.storages.get(self.values[v].storage)) and s.dies == index and not set(call.results) & {v}
        ]  # fmt: skip
