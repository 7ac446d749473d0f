"""Regions: calls in a row of which some run slice by slice along one dimension that flows through all of them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from foldcli.autochunk.dimensions import Chunking, Cut
from foldcli.autochunk.liveness import Program

MAX_REGION_CALLS = 32


@dataclass(frozen=True)
class ChunkedCall:
    """A call of a loop's body and the axis it runs along, of which each step of the loop takes `factor`."""

    index: int
    chunking: Chunking
    factor: int

    def operand_cuts(self) -> list[Cut | None]:
        return [cut and Cut(cut.dim, cut.step * self.factor) for cut in self.chunking.operands]

    def result_cuts(self) -> list[Cut]:
        return [Cut(cut.dim, cut.step * self.factor) for cut in self.chunking.results]


@dataclass(frozen=True, eq=False)  # found once for each window: told apart by identity, which is fast
class Region:
    """Calls from `start` to before `stop`; those that do not vary in the loop run before it.

    length: steps of the loop, taken several at a time; reads: values from outside and how each step reads them;
    outputs: values that are needed afterwards; in_place: outputs that are written into the memory of a value that
    nobody needs any more.
    """

    start: int
    stop: int
    length: int
    hoisted: tuple[int, ...]
    body: tuple[ChunkedCall, ...]
    outputs: tuple[tuple[int, Cut], ...]
    in_place: tuple[tuple[int, int], ...]


class _Conflict(Exception):
    """A value would be needed whole, or sliced in two ways."""


class _Flow:
    """Follows a dimension from the last call of a window through all that it touches in the window."""

    def __init__(self, program: Program, start: int, stop: int, length: int) -> None:
        self.program, self.start, self.stop, self.length = program, start, stop, length
        self.members: dict[int, ChunkedCall] = {}
        self.cuts: dict[int, Cut] = {}
        self.reads: dict[int, set[Cut]] = {}

    def inside(self, value: int) -> bool:
        return self.start <= self.program.producer.get(value, -1) < self.stop

    def follow(self, seed: ChunkedCall) -> None:
        pending = [seed]
        while pending:
            member = pending.pop()
            known = self.members.setdefault(member.index, member)
            if known is not member:
                if known != member:
                    raise _Conflict
                continue
            if member.chunking.length != self.length * member.factor:
                raise _Conflict
            pending += [more for value, cut in self._touched(member) for more in self._neighbours(value, cut)]

    def _touched(self, member: ChunkedCall) -> Iterator[tuple[int, Cut]]:
        """Values that get their cut by this call."""
        call = self.program.calls[member.index]
        ends = [*zip(call.operands, member.operand_cuts()), *zip(call.results, member.result_cuts())]  # noqa: B905
        for value, cut in ends:
            if cut is None:
                continue
            if not self.inside(value):
                self.reads.setdefault(value, set()).add(cut)
            elif value not in self.cuts:
                self.cuts[value] = cut
                yield value, cut
            elif self.cuts[value] != cut:
                raise _Conflict

    def _neighbours(self, value: int, cut: Cut) -> Iterator[ChunkedCall]:
        """The calls of the window that make or read a sliced value, each along its own axis."""
        maker = self.program.producer[value]
        place = self.program.calls[maker].results.index(value)
        yield self._along(maker, cut, [chunking.results[place] for chunking in self.program.chunkings(maker)])
        for reader in self.program.users[value]:
            if reader < self.stop:
                places = [p for p, operand in enumerate(self.program.calls[reader].operands) if operand == value]
                for place in places:
                    yield self._along(
                        reader, cut, [chunking.operands[place] for chunking in self.program.chunkings(reader)]
                    )

    def _along(self, index: int, cut: Cut, ends: list[Cut | None] | list[Cut]) -> ChunkedCall:
        for chunking, end in zip(self.program.chunkings(index), ends, strict=True):
            if end and end.dim == cut.dim and cut.step % end.step == 0:
                return ChunkedCall(index, chunking, cut.step // end.step)
        raise _Conflict

    def whole(self) -> set[int]:
        """Values that the body reads whole."""
        return {
            value for member in self.members.values()
            for value, cut in zip(self.program.calls[member.index].operands, member.chunking.operands, strict=True)
            if cut is None
        }  # fmt: skip


def regions_of_all_calls(program: Program, start: int, stop: int) -> Iterator[Region]:
    """All calls from `start` to before `stop` as regions that write into no memory which others may still read."""
    for chunking in program.chunkings(stop - 1):
        flow = _Flow(program, start, stop, chunking.length)
        with suppress(_Conflict):
            flow.follow(ChunkedCall(stop - 1, chunking, 1))
            if len(flow.members) == stop - start:
                yield replace(_region(flow, set()), in_place=())


def candidate_regions(program: Program, stop: int) -> Iterator[Region]:
    """Regions whose last call is the one before `stop`, from short to long, along each of its dimensions."""
    for chunking in program.chunkings(stop - 1):
        for start in range(stop - 1, max(-1, stop - 1 - MAX_REGION_CALLS), -1):
            if program.calls[start].pinned:
                break
            flow = _Flow(program, start, stop, chunking.length)
            try:
                flow.follow(ChunkedCall(stop - 1, chunking, 1))
            except _Conflict:
                break  # what is computed across stays inside of every longer window
            if start in flow.members:
                yield _region(flow, flow.whole())


def _region(flow: _Flow, whole: set[int]) -> Region:
    outputs = tuple((value, cut) for value, cut in flow.cuts.items() if _needed_after(flow.program, value, flow.stop))
    return Region(
        flow.start, flow.stop, flow.length,
        tuple(index for index in range(flow.start, flow.stop) if index not in flow.members),
        tuple(flow.members[index] for index in sorted(flow.members)), outputs, _in_place(flow, outputs, whole),
    )  # fmt: skip


def _needed_after(program: Program, value: int, stop: int) -> bool:
    return any(reader >= stop for reader in program.users[value]) or value in program.shaped.graph.outputs


def _in_place(flow: _Flow, outputs: tuple[tuple[int, Cut], ...], whole: set[int]) -> tuple[tuple[int, int], ...]:
    """Outputs and the dead values of the same layout that they may replace, slice by slice after it was read."""
    program, taken, found = flow.program, set(), []
    for value, cut in outputs:
        spec = program.spec(value)
        for source, cuts in flow.reads.items():
            own = program.spec(source)
            storage = program.storages.get(own.storage)
            others = [v for v in program.aliases[own.storage] if v != source and (v in flow.reads or v in whole)]
            free = storage and storage.dies < flow.stop and source not in whole and not others and source not in taken
            same = (spec.shape, spec.stride, spec.dtype, spec.device) == (own.shape, own.stride, own.dtype, own.device)
            if free and same and cuts == {cut} and storage and storage.bytes == spec.bytes:
                taken.add(source)
                found.append((value, source))
                break
    return tuple(found)
