"""Peeling: compute a square value into the place of the one it is computed from, strip by strip.

Entry (i, j) of a triangle multiplication's result needs row i of the pairs, row j, and entry (i, j) itself. A loop over
rows alone must have what it needs of row j for every j beside the pairs, as large as they are. Peeling takes some rows,
a strip, and computes the result's entries in these rows and in these columns. After that nothing needs the strip any
more: its rows of the result are written there, and those in its columns are kept aside until their rows have their
turn. At most a quarter of the value is kept aside, and what rows need is computed again for each strip.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import permutations

from foldcli.autochunk.dimensions import Chunking, Cut
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.region_search import MAX_REGION_CALLS, ChunkedCall, ChunkFlow, Conflict, Region, needed_after


@dataclass(frozen=True, eq=False)  # each is made once: compared by identity, which is fast
class Peel:
    """The calls in [start, stop), which compute `output` into the place of `source`.

    length: rows, and columns; rows, columns: the calls that make, from a strip of the source, what tiles need of their
    rows and of their columns; tile: those that make a tile of the output, chunked along the rows; across: the same
    chunked along the columns; cuts: how rows and columns cut both source and output.
    """

    start: int
    stop: int
    length: int
    rows: Region
    columns: Region
    tile: Region
    across: tuple[ChunkedCall, ...]
    source: int
    output: int
    cuts: tuple[Cut, Cut]


def peels(program: Program, stop: int) -> Iterator[Peel]:
    """The shortest peelings that end before `stop`, for each pair of dimensions of the last call's result."""
    if len(program.calls[stop - 1].results) == 1:
        for first, second in permutations(program.chunkings(stop - 1), 2):
            if first.length == second.length and (found := _shortest(program, stop, first, second)):
                yield found


def aside_bytes(program: Program) -> float:
    """The most that a peeling keeps aside, in bytes."""
    found = (peel for stop in range(1, len(program.calls) + 1) for peel in peels(program, stop))
    return max((program.spec(peel.output).nbytes for peel in found), default=0) / 4


def _shortest(program: Program, stop: int, first: Chunking, second: Chunking) -> Peel | None:
    along, across = ChunkFlow(program, stop, first), ChunkFlow(program, stop, second)
    with suppress(Conflict):
        while along.start > max(0, stop - MAX_REGION_CALLS) and not program.calls[along.start - 1].pinned:
            along.grow()
            across.grow()
            if found := _Peeling(program, along, across).found():
                return found
    return None


class _Peeling:
    """Two flows over the same calls, of rows and of columns; `found` is the peeling, None if they make none."""

    def __init__(self, program: Program, along: ChunkFlow, across: ChunkFlow) -> None:
        self.program, self.along, self.across = program, along, across
        self.rows = sorted(along.members.keys() - across.members.keys())
        self.columns = sorted(across.members.keys() - along.members.keys())
        self.tiles = sorted(along.members.keys() & across.members.keys())

    def found(self) -> Peel | None:
        window = range(self.along.start, self.along.stop)
        if not (self.rows and self.columns) or len(self.rows + self.columns + self.tiles) < len(window):
            return None
        (output,) = self.program.calls[window[-1]].results
        left = [v for i in window for v in self.program.calls[i].results if needed_after(self.program, v, window.stop)]
        if left != [output] or not self._separate():
            return None
        cuts = self.along.cuts[output], self.across.cuts[output]
        sources = (value for value in self.along.reads if self._overwritable(value, output, cuts))
        if cuts[0].dim == cuts[1].dim or (source := next(sources, None)) is None:
            return None
        return Peel(
            window.start, window.stop, self.along.length, self._part(self.along, self.rows),
            self._part(self.across, self.columns), self._part(self.along, self.tiles),
            tuple(self.across.members[index] for index in self.tiles), source, output, cuts,
        )  # fmt: skip

    def _part(self, flow: ChunkFlow, calls: list[int]) -> Region:
        """Some of the window's calls in chunks of a flow, with what others need of them as results."""
        own = {value: flow.cuts[value] for index in calls for value in self.program.calls[index].results}
        outside = {v for i in range(flow.start, flow.stop) if i not in calls for v in self.program.calls[i].operands}
        outputs = [(v, cut) for v, cut in own.items() if v in outside or needed_after(self.program, v, flow.stop)]
        body = tuple(flow.members[index] for index in calls)
        return Region(flow.start, flow.stop, flow.length, (), body, tuple(outputs), ())

    def _separate(self) -> bool:
        """Whether rows need nothing of columns, and tiles need rows and columns each in their own strips."""
        made = {value: index for index in (*self.rows, *self.columns, *self.tiles)
                for value in self.program.calls[index].results}  # fmt: skip
        for part in (self.rows, self.columns):
            operands = (value for index in part for value in self.program.calls[index].operands)
            if any(value in made and made[value] not in part for value in operands):
                return False
        for along, across in ((self.along.members[i], self.across.members[i]) for i in self.tiles):
            if along.chunking.adapt or across.chunking.adapt:
                return False
            ends = zip((*along.operand_cuts(), *along.result_cuts()), (*across.operand_cuts(), *across.result_cuts()),
                       strict=True)  # fmt: skip
            if any(a and b and a.dim == b.dim for a, b in ends):
                return False
        return True

    def _overwritable(self, source: int, output: int, cuts: tuple[Cut, Cut]) -> bool:
        """Whether the output may take a value's place: it is dead, of the same layout, and read in strips and tiles."""
        own, made = self.program.spec(source), self.program.spec(output)
        storage = self.program.storages.get(own.storage)
        same = (own.shape, own.stride, own.dtype, own.device) == (made.shape, made.stride, made.dtype, made.device)
        if not (same and storage and storage.dies < self.along.stop and storage.bytes == made.storage_bytes):
            return False
        window = range(self.along.start, self.along.stop)
        touched = {v for i in window for v in (*self.program.calls[i].operands, *self.program.calls[i].results)}
        if touched & set(self.program.aliases[own.storage]) != {source}:
            return False
        rows, columns = self._read(self.along, self.rows, source), self._read(self.across, self.columns, source)
        in_rows, in_columns = self._read(self.along, self.tiles, source), self._read(self.across, self.tiles, source)
        return rows == columns == {cuts[0]} and in_rows <= {cuts[0]} and in_columns <= {cuts[1]}

    def _read(self, flow: ChunkFlow, calls: list[int], value: int) -> set[Cut | None]:
        """How some calls of a flow cut a value that they read."""
        pairs = ((self.program.calls[index].operands, flow.members[index].operand_cuts()) for index in calls)
        return {cut for operands, cuts in pairs for v, cut in zip(operands, cuts, strict=True) if v == value}
