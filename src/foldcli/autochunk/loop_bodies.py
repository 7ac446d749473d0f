"""What loops run: calls on chunks of their operands, and the strips and tiles of a peeling."""

from collections.abc import Callable, Iterator

from torch import Tensor

from foldcli.autochunk.dimensions import Adapt, Cut
from foldcli.autochunk.graph import Call, tensors
from foldcli.autochunk.host_memory import park, put
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.peeling import Peel
from foldcli.autochunk.plan import Strips
from foldcli.autochunk.region_search import Region

Operands = Callable[[int], Tensor]
Span = tuple[int, int]


def run_call(call: Call, operands: Operands, adapt: Adapt | None = None, size: int = 0) -> dict[int, Tensor]:
    """A call's results, by value; adapt: changes the arguments for a chunk of so many steps."""
    args, kwargs = call.filled(operands)
    if adapt is not None:
        args, kwargs = adapt(args, kwargs, size)
    return dict(zip(call.results, tensors(call.function(*args, **kwargs)), strict=True))


def narrow(tensor: Tensor, cut: Cut, first: int, size: int) -> Tensor:
    return tensor.narrow(cut.dim, first * cut.step, size * cut.step)


def run_chunk(program: Program, region: Region, first: int, size: int, values: dict[int, Tensor]) -> dict[int, Tensor]:
    """One pass of a loop, from step `first` over `size` steps: the chunks of its results."""
    chunk: dict[int, Tensor] = {}
    kept = {value for value, _ in region.outputs}
    calls = [program.calls[member.index] for member in region.body]
    last = {value: call for call in calls for value in (*call.results, *call.operands)}
    for call, member in zip(calls, region.body, strict=True):
        cuts = iter(member.operand_cuts())

        def operand(value: int, cuts: Iterator[Cut | None] = cuts) -> Tensor:
            cut = next(cuts)
            if value in chunk:
                return chunk[value]
            return narrow(values[value], cut, first, size) if cut else values[value]

        chunk.update(run_call(call, operand, member.chunking.adapt, size * member.factor))
        for value in [value for value in chunk if value not in kept and last[value] is call]:
            del chunk[value]
    return chunk


def run_peel(program: Program, step: Strips, values: dict[int, Tensor]) -> None:
    """Peel strips off the source, until the output stands in its place."""
    peel, rows = step.peel, step.rows
    spans = [(first, min(rows, peel.length - first)) for first in range(0, peel.length, rows)]
    aside: dict[tuple[int, int], Tensor] = {}  # the output's tiles whose rows are still needed as they were
    for number in range(len(spans)):
        _peel_strip(program, step, values, spans, number, aside)


def _peel_strip(
    program: Program, step: Strips, values: dict[int, Tensor], spans: list[Span], number: int,
    aside: dict[tuple[int, int], Tensor],
) -> None:  # fmt: skip
    """Compute the output in the rows and columns of a strip. No name holds what another strip needs: it is freed."""
    peel, strip = step.peel, spans[number]
    own_rows = run_chunk(program, peel.rows, *strip, values)
    own_columns = run_chunk(program, peel.columns, *strip, values)

    def place(row: Span, column: Span) -> Tensor:
        return narrow(narrow(values[peel.source], peel.cuts[0], *row), peel.cuts[1], *column)

    def tile(row: Span, column: Span, made: dict[int, Tensor]) -> Tensor:
        return _tile(program, peel, row, column, {**values, **own_rows, **own_columns, **made})

    for done in range(number):
        put(aside.pop((number, done)), place(strip, spans[done]))
    place(strip, strip).copy_(tile(strip, strip, {}))
    keep = park if step.on_host else (lambda made: made)
    for later in range(number + 1, len(spans)):
        other = spans[later]
        aside[later, number] = keep(tile(other, strip, run_chunk(program, peel.rows, *other, values)))
        place(strip, other).copy_(tile(strip, other, run_chunk(program, peel.columns, *other, values)))


def _tile(program: Program, peel: Peel, row: Span, column: Span, values: dict[int, Tensor]) -> Tensor:
    """The output's entries in some rows and columns; what strips have made is among the values."""
    strips = {value for part in (peel.rows, peel.columns) for value, _ in part.outputs}
    tile: dict[int, Tensor] = {}
    for along, across in zip(peel.tile.body, peel.across, strict=True):
        cuts = iter(zip(along.operand_cuts(), across.operand_cuts(), strict=True))

        def operand(value: int, cuts: Iterator[tuple[Cut | None, Cut | None]] = cuts) -> Tensor:
            in_rows, in_columns = next(cuts)
            if value in tile or value in strips:
                return tile.get(value, values.get(value))  # type: ignore[return-value]
            whole = narrow(values[value], in_rows, *row) if in_rows else values[value]
            return narrow(whole, in_columns, *column) if in_columns else whole

        tile.update(run_call(program.calls[along.index], operand))
    return tile[peel.output]
