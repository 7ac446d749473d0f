"""Module results as tables."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from foldcli.bench.cases import submodules
from foldcli.bench.limits import Limits
from foldcli.bench.modules.results import Figure, Measured, Pass, Sliced
from foldcli.bench.modules.scaling import curves, exponents
from foldcli.byte_units import GIB
from foldcli.config import ModelConfig


def show(measured: Measured, console: Console) -> None:
    """Print a table and notes for each length, and growth if there are several."""
    for length in measured.figures:
        console.print(module_table(measured, length))
        for note in notes(measured, length):
            console.print(note, soft_wrap=True)
    if len(measured.figures) > 1:
        console.print(sweep_table(measured))


def line(length: int, figure: Figure) -> str:
    """The times and memory of one module, for a log that may be cut off before the table comes."""
    passes = {"": figure.forward, "backward ": figure.backward}
    told = [
        f"{name}{1e3 * one.times.median:,.3g} ms, {one.peak / GIB:.3g} GiB"
        for name, one in passes.items() if one and one.times and one.peak is not None
    ]  # fmt: skip
    return f"{length} residues, {figure.module}: {'; '.join([*told, *([figure.note] if figure.note else [])])}"


def module_table(measured: Measured, length: int) -> Table:
    """The table of one length: a row for each module, and one for its backward pass if measured."""
    request = measured.request
    title = f"{request.model}: {length} residues, {request.depth} + {request.extra} rows, on {measured.machine.device}"
    grid = Table("module", "×", "ms", "±", "TFLOP/s", "GB", "product", "copy", "GiB", "at ¼", title=title)
    _to_the_right(grid)
    for figure in measured.figures[length]:
        rates = _rates(figure.forward, measured.limits)
        grid.add_row(figure.module, str(figure.count), *rates, _sliced(figure.sliced))
        if figure.backward is not None:
            grid.add_row("  backward", "", *_rates(figure.backward, measured.limits), "")
    return grid


def _to_the_right(grid: Table) -> None:
    for column in grid.columns:
        column.no_wrap = True
    for column in grid.columns[1:]:
        column.justify = "right"


def _rates(one: Pass, limits: Limits) -> list[str]:
    """Cells of time, spread, rates and memory; traffic alone if the pass was not measured."""
    moved = f"{one.work.moved / 1e9:.3f}"
    if one.times is None or one.peak is None:
        return ["", "", "", moved, "", "", ""]
    seconds = one.times.median
    flops, bytes_ = one.work.flops / seconds, one.work.moved / seconds
    spread = f"{one.times.spread:.0%}" if len(one.times.each) > 1 else "one run"
    return [
        f"{1e3 * seconds:,.1f}", spread, f"{flops / 1e12:.3f}", moved, f"{flops / limits.product:.0%}",
        f"{bytes_ / limits.copy:.0%}", f"{one.peak / GIB:.2f}",
    ]  # fmt: skip


def _sliced(sliced: Sliced | None) -> str:
    if sliced is None:
        return ""
    return "none" if sliced.slowdown is None else f"{sliced.slowdown - 1:+.0%}"


def notes(measured: Measured, length: int) -> Iterator[str]:
    """What the columns mean, what was not measured and why, and sums over submodules."""
    limits = measured.limits
    yield (
        f"product, copy: shares of a matrix product's {limits.product / 1e12:.3f} TFLOP/s and of a copy's "
        f"{limits.copy / 1e9:.1f} GB/s, measured in this run; GB: inputs, outputs and parameters, each once"
    )
    yield "×: times in a pass; ¼: time that AutoChunk's plan for a quarter of the memory is predicted to add"
    for figure in measured.figures[length]:
        if figure.note:
            yield f"{figure.module}: {figure.note}"
    yield from _sums(measured.figures[length], measured.request.config())


def _sums(figures: Sequence[Figure], config: ModelConfig) -> Iterator[str]:
    """For a block or model that was not measured, the sum over its submodules if all of them were."""
    medians = {figure.module: figure.forward.times.median for figure in figures if figure.forward.times}
    for figure in figures:
        made_of = submodules(config, figure.module)
        if figure.module not in medians and made_of and made_of.keys() <= medians.keys():
            total = sum(count * medians[name] for name, count in made_of.items())
            yield f"{figure.module}: not measured; its submodules sum to {total:.1f} s"


def sweep_table(measured: Measured) -> Table:
    """Milliseconds of each module at each length, and the fitted exponents of time and memory."""
    grid = Table("module", *(f"{length}, ms" for length in measured.figures), "time ~ n^", "memory ~ n^")
    _to_the_right(grid)
    rows: dict[str, list[str]] = {}
    for figures in measured.figures.values():
        for figure in figures:
            times = figure.forward.times
            rows.setdefault(figure.module, []).append(f"{1e3 * times.median:,.1f}" if times else "")
    found = curves(measured.figures)
    for module, cells in rows.items():
        fitted = exponents(found.get(module, []))
        grid.add_row(module, *cells, *(f"{value:.2f}" for value in fitted) if fitted else ("", ""))
    return grid
