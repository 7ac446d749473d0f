"""Regions: calls in a row of which some run slice by slice along one dimension that flows through all of them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from foldcli.autochunk.dimensions import Axis, Cut
from foldcli.autochunk.lifetimes import Program

WIDEST = 32


@dataclass(frozen=True)
class Joined:
    """A call of a loop's body and the axis it runs along, of which each step of the loop takes `factor`."""

    index: int
    axis: Axis
    factor: int

    def operand_cuts(self) -> list[Cut | None]:
        return [cut and Cut(cut.dim, cut.step * self.factor) for cut in self.axis.operands]

    def result_cuts(self) -> list[Cut]:
        return [Cut(cut.dim, cut.step * self.factor) for cut in self.axis.results]


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
    before: tuple[int, ...]
    body: tuple[Joined, ...]
    outputs: tuple[tuple[int, Cut], ...]
    in_place: tuple[tuple[int, int], ...]


class _Conflict(Exception):
    """A value would be needed whole, or sliced in two ways."""


class _Flow:
    """Follows a dimension from the last call of a window through all that it touches in the window."""

    def __init__(self, program: Program, start: int, stop: int, length: int) -> None:
        self.program, self.start, self.stop, self.length = program, start, stop, length
        self.joined: dict[int, Joined] = {}
        self.cuts: dict[int, Cut] = {}
        self.reads: dict[int, set[Cut]] = {}

    def inside(self, value: int) -> bool:
        return self.start <= self.program.maker.get(value, -1) < self.stop

    def follow(self, seed: Joined) -> None:
        pending = [seed]
        while pending:
            joined = pending.pop()
            known = self.joined.setdefault(joined.index, joined)
            if known is not joined:
                if known != joined:
                    raise _Conflict
                continue
            if joined.axis.length != self.length * joined.factor:
                raise _Conflict
            pending += [more for value, cut in self._touched(joined) for more in self._neighbours(value, cut)]

    def _touched(self, joined: Joined) -> Iterator[tuple[int, Cut]]:
        """Values that get their cut by this call."""
        call = self.program.calls[joined.index]
        ends = [*zip(call.operands, joined.operand_cuts()), *zip(call.results, joined.result_cuts())]  # noqa: B905
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

    def _neighbours(self, value: int, cut: Cut) -> Iterator[Joined]:
        """The calls of the window that make or read a sliced value, each along its own axis."""
        maker = self.program.maker[value]
        place = self.program.calls[maker].results.index(value)
        yield self._along(maker, cut, [axis.results[place] for axis in self.program.axes(maker)])
        for reader in self.program.readers[value]:
            if reader < self.stop:
                places = [p for p, operand in enumerate(self.program.calls[reader].operands) if operand == value]
                for place in places:
                    yield self._along(reader, cut, [axis.operands[place] for axis in self.program.axes(reader)])

    def _along(self, index: int, cut: Cut, ends: list[Cut | None] | list[Cut]) -> Joined:
        for axis, end in zip(self.program.axes(index), ends, strict=True):
            if end and end.dim == cut.dim and cut.step % end.step == 0:
                return Joined(index, axis, cut.step // end.step)
        raise _Conflict

    def whole(self) -> set[int]:
        """Values that the body reads whole."""
        return {
            value for joined in self.joined.values()
            for value, cut in zip(self.program.calls[joined.index].operands, joined.axis.operands, strict=True)
            if cut is None
        }  # fmt: skip


def movable(program: Program, start: int, stop: int) -> Iterator[Region]:
    """All calls from `start` to before `stop` as regions that write into no memory which others may still read."""
    for axis in program.axes(stop - 1):
        flow = _Flow(program, start, stop, axis.length)
        with suppress(_Conflict):
            flow.follow(Joined(stop - 1, axis, 1))
            if len(flow.joined) == stop - start:
                yield replace(_region(flow, set()), in_place=())


def regions(program: Program, stop: int) -> Iterator[Region]:
    """Regions whose last call is the one before `stop`, from short to long, along each of its dimensions."""
    for axis in program.axes(stop - 1):
        for start in range(stop - 1, max(-1, stop - 1 - WIDEST), -1):
            if program.calls[start].pinned:
                break
            flow = _Flow(program, start, stop, axis.length)
            try:
                flow.follow(Joined(stop - 1, axis, 1))
            except _Conflict:
                break  # what is computed across stays inside of every longer window
            if start in flow.joined:
                yield _region(flow, flow.whole())


def _region(flow: _Flow, whole: set[int]) -> Region:
    outputs = tuple((value, cut) for value, cut in flow.cuts.items() if _needed_after(flow.program, value, flow.stop))
    return Region(
        flow.start, flow.stop, flow.length,
        tuple(index for index in range(flow.start, flow.stop) if index not in flow.joined),
        tuple(flow.joined[index] for index in sorted(flow.joined)), outputs, _in_place(flow, outputs, whole),
    )  # fmt: skip


def _needed_after(program: Program, value: int, stop: int) -> bool:
    return any(reader >= stop for reader in program.readers[value]) or value in program.facts.graph.outputs


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
