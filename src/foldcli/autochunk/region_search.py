"""Chunk search: find chunk regions, calls in a row of which some can run in chunks along one dimension.

A region is found by its chunk flow: from a dimension of the last call's result to all calls to be chunked with it.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from foldcli.autochunk.dimensions import Chunking, Cut
from foldcli.autochunk.liveness import Program

MAX_REGION_CALLS = 48  # in a row, the hoisted ones included


@dataclass(frozen=True)
class ChunkedCall:
    """A call in a loop's body with its chunking, of which each step of the loop takes `factor` steps."""

    index: int
    chunking: Chunking
    factor: int

    def operand_cuts(self) -> list[Cut | None]:
        return [cut and Cut(cut.dim, cut.step * self.factor) for cut in self.chunking.operands]

    def result_cuts(self) -> list[Cut]:
        return [Cut(cut.dim, cut.step * self.factor) for cut in self.chunking.results]


@dataclass(frozen=True, eq=False)  # each is made once: compared by identity, which is fast
class Region:
    """The calls in [start, stop): those hoisted run once, then those of the body in a loop over chunks.

    length: steps of the loop, of which a chunk has several; outputs: the body's values that are used afterwards, with
    their cuts; in_place: (output, dead value) pairs where the output overwrites the dead value's memory.
    """

    start: int
    stop: int
    length: int
    hoisted: tuple[int, ...]
    body: tuple[ChunkedCall, ...]
    outputs: tuple[tuple[int, Cut], ...]
    in_place: tuple[tuple[int, int], ...]


class Conflict(Exception):
    """No chunk flow: a value would be needed whole, or chunked in two ways."""


class ChunkFlow:
    """The chunk flow of one dimension through the window of calls [start, stop), which grows towards the first call.

    members: the calls that it reaches; cuts: of values made in the window; reads: cuts of values from outside.
    """

    def __init__(self, program: Program, stop: int, chunking: Chunking) -> None:
        self.program, self.start, self.stop, self.length = program, stop, stop, chunking.length
        self.seed = ChunkedCall(stop - 1, chunking, 1)
        self.members: dict[int, ChunkedCall] = {}
        self.cuts: dict[int, Cut] = {}
        self.reads: dict[int, set[Cut]] = {}

    def produces(self, value: int) -> bool:
        """Whether a value is made in the window."""
        return self.start <= self.program.producer.get(value, -1) < self.stop

    def grow(self) -> None:
        """Take one more call into the window; Conflict if there is no flow, nor through any longer window."""
        self.start -= 1
        pending = [] if self.members else [self.seed]
        for value in self.program.calls[self.start].results:
            if value in self.reads:
                cut, *others = self.reads.pop(value)
                if others:
                    raise Conflict
                self.cuts[value] = cut
                pending += self._neighbours(value, cut)
        self._follow(pending)

    def _follow(self, pending: list[ChunkedCall]) -> None:
        """Follow the dimension of some calls to all calls that they must be chunked with."""
        while pending:
            member = pending.pop()
            known = self.members.setdefault(member.index, member)
            if known is not member:
                if known != member:
                    raise Conflict
                continue
            if member.chunking.length != self.length * member.factor:
                raise Conflict
            pending += [more for value, cut in self._touched(member) for more in self._neighbours(value, cut)]

    def _touched(self, member: ChunkedCall) -> Iterator[tuple[int, Cut]]:
        """The window's values for which this call is the first to say how they are chunked."""
        call = self.program.calls[member.index]
        ends = [*zip(call.operands, member.operand_cuts()), *zip(call.results, member.result_cuts())]  # noqa: B905
        for value, cut in ends:
            if cut is None:
                continue
            if not self.produces(value):
                self.reads.setdefault(value, set()).add(cut)
            elif value not in self.cuts:
                self.cuts[value] = cut
                yield value, cut
            elif self.cuts[value] != cut:
                raise Conflict

    def _neighbours(self, value: int, cut: Cut) -> Iterator[ChunkedCall]:
        """The calls of the window that produce or read a chunked value, each with the chunking that matches."""
        producer = self.program.producer[value]
        place = self.program.calls[producer].results.index(value)
        yield self._along(producer, cut, [chunking.results[place] for chunking in self.program.chunkings(producer)])
        for reader in self.program.users[value]:
            if reader < self.stop:
                places = [p for p, operand in enumerate(self.program.calls[reader].operands) if operand == value]
                for place in places:
                    ends = [chunking.operands[place] for chunking in self.program.chunkings(reader)]
                    yield self._along(reader, cut, ends)

    def _along(self, index: int, cut: Cut, ends: list[Cut | None] | list[Cut]) -> ChunkedCall:
        """A call with the chunking that cuts a value so; ends: how each of the call's chunkings cuts that value."""
        for chunking, end in zip(self.program.chunkings(index), ends, strict=True):
            if end and end.dim == cut.dim and cut.step % end.step == 0:
                return ChunkedCall(index, chunking, cut.step // end.step)
        raise Conflict

    def read_whole(self) -> set[int]:
        """Values that the body reads unchunked."""
        return {
            value for member in self.members.values()
            for value, cut in zip(self.program.calls[member.index].operands, member.chunking.operands, strict=True)
            if cut is None
        }  # fmt: skip


def regions_of_all_calls(program: Program, start: int, stop: int) -> Iterator[Region]:
    """Regions with every call of [start, stop) in the body, and none in place: its inputs may still be read."""
    for flow in _flows(program, start, stop):
        if flow.start == start and len(flow.members) == stop - start:
            yield replace(_region(flow, set()), in_place=())


def candidate_regions(program: Program, stop: int) -> Iterator[Region]:
    """Regions that end before `stop`, from short to long, along each chunkable dimension of the last call."""
    for flow in _flows(program, max(0, stop - MAX_REGION_CALLS), stop):
        if flow.start in flow.members:
            yield _region(flow, flow.read_whole())


def _flows(program: Program, first: int, stop: int) -> Iterator[ChunkFlow]:
    """The flows of each chunkable dimension of the last call before `stop`, as their windows grow to call `first`."""
    for chunking in program.chunkings(stop - 1):
        flow = ChunkFlow(program, stop, chunking)
        with suppress(Conflict):
            while flow.start > first and not program.calls[flow.start - 1].pinned:
                flow.grow()
                yield flow


def _region(flow: ChunkFlow, whole: set[int]) -> Region:
    outputs = tuple((value, cut) for value, cut in flow.cuts.items() if needed_after(flow.program, value, flow.stop))
    return Region(
        flow.start, flow.stop, flow.length,
        tuple(index for index in range(flow.start, flow.stop) if index not in flow.members),
        tuple(flow.members[index] for index in sorted(flow.members)), outputs, _in_place(flow, outputs, whole),
    )  # fmt: skip


def needed_after(program: Program, value: int, stop: int) -> bool:
    """Whether a value is used by calls from `stop` on, or returned."""
    return any(reader >= stop for reader in program.users[value]) or value in program.shaped.graph.outputs


def _in_place(flow: ChunkFlow, outputs: tuple[tuple[int, Cut], ...], whole: set[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of an output and a dead value of the same layout, read chunk by chunk just as the output is written."""
    program, taken, found = flow.program, set(), []
    for value, cut in outputs:
        spec = program.spec(value)
        for source, cuts in flow.reads.items():
            own = program.spec(source)
            storage = program.storages.get(own.storage)
            others = [v for v in program.aliases[own.storage] if v != source and (v in flow.reads or v in whole)]
            free = storage and storage.dies < flow.stop and source not in whole and not others and source not in taken
            same = (spec.shape, spec.stride, spec.dtype, spec.device) == (own.shape, own.stride, own.dtype, own.device)
            if free and same and cuts == {cut} and storage and storage.bytes == spec.storage_bytes:
                taken.add(source)
                found.append((value, source))
                break
    return tuple(found)
