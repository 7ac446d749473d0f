"""Plots of confidence, ranking and alignment coverage as PNG files, in one style, reproducible to the byte."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from foldcli.files import atomic_file
from foldcli.protein.chain_names import chain_name
from foldcli.protein.residues import GAP
from foldcli.protein.structure import Prediction, Structure
from foldcli.report.aligned_errors import block_side, shrunk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# pLDDT bands in the AlphaFold Database's colours; the plot labels each, for readers who cannot tell the colours apart.
BANDS: Final = (
    (90, 100, "#0053d6", "very high"),
    (70, 90, "#65cbf3", "confident"),
    (50, 70, "#ffdb13", "low"),
    (0, 50, "#ff7d45", "very low"),
)
# Okabe and Ito's palette, which differs in lightness too; ranks six to ten use it again, dashed.
LINES: Final = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7")
DASHES: Final = ("-", "--")
MAPS_A_ROW: Final = 5
COVERAGE_ROWS: Final = 1000  # more than the plot has pixels
PNG_LEVEL: Final = 4  # of zlib: half the time of its default, for files a fifth larger
MOST_NAMED: Final = 40  # predictions in the ranking whose model and seed stand beside them
# What all plots share: matplotlib's settings, and the inches of a plot along the residues.
STYLE: Final[dict[Any, Any]] = {
    "figure.dpi": 150, "savefig.dpi": 150, "font.size": 9, "axes.titlesize": 9, "axes.linewidth": 0.8,
    "axes.edgecolor": "0.2", "xtick.color": "0.2", "ytick.color": "0.2", "xtick.labelcolor": "black",
    "ytick.labelcolor": "black", "legend.frameon": False, "lines.linewidth": 1.3,
    "figure.constrained_layout.wspace": 0.05,
}  # fmt: skip
WIDTH: Final = 8.0
TICK_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
BORDER: Final[dict[str, Any]] = {"color": "0.1", "linewidth": 0.8, "linestyle": (0, (4, 2))}
MOST_CHAIN_NAMES: Final = 40  # chains along an axis; the names of shorter ones are left out
DOTS: Final[dict[str, Any]] = {"color": "black", "markersize": 4, "clip_on": False}


def load_matplotlib() -> None:
    """Import what the plots need, ahead of the first one; if that fails, the first plot says why."""
    with contextlib.suppress(Exception):
        import matplotlib.backends.backend_agg
        import matplotlib.figure
        import matplotlib.patheffects
        import matplotlib.ticker  # noqa: F401


def plddt_png(predictions: Sequence[Prediction], path: Path) -> None:
    """Draw pLDDT along the sequence over AlphaFold's confidence bands, one line for each rank, best first.

    Past the tenth rank the lines are thin and grey. Errors: FoldcliError if `path` cannot be written.
    """
    with _drawing(path, WIDTH, 4.8) as figure:
        axes = figure.subplots()
        for low, high, _, name in _shade_bands(axes.axhspan):
            axes.text(1.01, (low + high) / 2, name, transform=axes.get_yaxis_transform(), va="center")
        named = predictions[: len(LINES) * len(DASHES)]
        for k, prediction in reversed(list(enumerate(predictions))):  # the best on top
            style: dict[str, Any] = {"color": "0.5", "linewidth": 0.5}
            if k < len(named):
                style = {"color": LINES[k % len(LINES)], "linestyle": DASHES[k // len(LINES)]}
                style["label"] = f"{_label(k, prediction)}, mean {prediction.mean_plddt:.1f}"
            numbers = _numbers(prediction.structure)
            marker = "o" if len(prediction.plddt) == 1 else None
            breaks = np.cumsum(prediction.structure.chain_lengths[:-1]).astype(int)  # no line from chain to chain
            lines = (np.insert(values.astype(float), breaks, np.nan) for values in (numbers, prediction.plddt))
            axes.plot(*lines, marker=marker, **style)
        axes.set(xlabel="residue", ylabel="pLDDT", ylim=(0, 100))
        axes.margins(x=0)
        _whole_ticks(axes.xaxis, 10)
        _mark_chains(axes, predictions[0].structure.chain_lengths, (axes.xaxis,), 10)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)


def ranking_png(predictions: Sequence[Prediction], path: Path) -> None:
    """Draw mean pLDDT, pTM and, of complexes, ipTM of all predictions of a job, the best at the top.

    Errors: FoldcliError if `path` cannot be written.
    """
    places = np.arange(1, len(predictions) + 1)
    scores = {"pTM": [one.ptm for one in predictions], "ipTM": [one.iptm for one in predictions]}
    scores = {name: values for name, values in scores.items() if any(value is not None for value in values)}
    with _drawing(path, WIDTH, 1.2 + 0.22 * min(len(predictions), MOST_NAMED)) as figure:
        grid = figure.subplots(1, 1 + len(scores), sharey=True, squeeze=False)[0]
        _shade_bands(grid[0].axvspan)
        grid[0].plot([prediction.mean_plddt for prediction in predictions], places, "o", **DOTS)
        grid[0].set(xlabel="mean pLDDT", xlim=(0, 100), ylim=(len(predictions) + 0.6, 0.4))
        for axes, (name, values) in zip(grid[1:], scores.items(), strict=True):
            axes.plot([np.nan if value is None else value for value in values], places, "o", **DOTS)
            axes.set(xlabel=name, xlim=(0, 1))
            if len(scores) > 1:
                axes.set_xticks([0, 0.5, 1])
        for axes in grid:
            axes.grid(axis="y", color="0.85", linewidth=0.6)
            axes.set_axisbelow(True)
        if len(predictions) <= MOST_NAMED:
            grid[0].set_yticks(places, [_label(k, one) for k, one in enumerate(predictions)])
        else:
            grid[0].set_ylabel("rank")


def pae_png(predictions: Sequence[Prediction], path: Path) -> None:
    """Draw the predicted aligned error of each rank as a map, at most five in a row; ranks without one are left out.

    Errors: ValueError if no prediction has a PAE; FoldcliError if `path` cannot be written.
    """
    maps = [(_label(k, one), one, one.pae) for k, one in enumerate(predictions) if one.pae is not None]
    if not maps:
        raise ValueError("none of the predictions has a PAE")
    columns, rows = min(len(maps), MAPS_A_ROW), -(-len(maps) // MAPS_A_ROW)
    width = (4.8, 6.4, WIDTH)[min(columns, 3) - 1]
    ceiling = max(one.max_pae if one.max_pae is not None else float(pae.max()) for _, one, pae in maps)
    with _drawing(path, width, rows * ((width - 1.3) / columns + 0.7) + 0.3) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for k, (axes, (label, one, pae)) in enumerate(zip(grid.flat, maps, strict=False)):
            first, last = _numbers(one.structure)[[0, -1]]
            edges = (first - 0.5, last + 0.5, last + 0.5, first - 0.5)
            image = axes.imshow(shrunk(pae), cmap="Greens_r", vmin=0, vmax=ceiling, extent=edges)
            lengths, most = one.structure.chain_lengths, 4 if columns > 3 else 6
            title: dict[str, Any] = {"pad": 16, "fontsize": 6 if columns > 3 else 9} if lengths else {}
            axes.set_title(label.replace(" · ", "\n"), **title)
            for axis in (axes.xaxis, axes.yaxis):
                _whole_ticks(axis, most)
            _mark_chains(axes, lengths, (axes.xaxis, axes.yaxis), most)
            _label_edges(axes, bottom=k + columns >= len(maps), left=k % columns == 0)
        for axes in grid.flat[len(maps) :]:
            axes.set_visible(False)
        side = block_side(len(maps[0][2]))
        points = f", each point the mean of {side} × {side} pairs" if side > 1 else ""
        figure.colorbar(image, ax=grid, shrink=1 if rows == 1 else 0.5, label=f"expected error (Å){points}")


def coverage_png(
    tokens: NDArray[np.int8], path: Path, first_residue: int = 1, chain_lengths: Sequence[int] = ()
) -> None:
    """Draw an alignment's rows, sorted by identity to the query (the first row), and each residue's coverage.

    tokens [s, i], 21 a gap; chain_lengths: of a complex, whose paired rows are above those of one chain. Errors:
    FoldcliError if `path` cannot be written.
    """
    from matplotlib.patheffects import withStroke

    depth, length = tokens.shape
    residues = np.arange(length + 1) + first_residue - 0.5
    edges = (residues[0], residues[-1], 0, depth)
    with _drawing(path, WIDTH, 4.8) as figure:
        axes = figure.subplots()
        image = axes.imshow(
            _rows_by_identity(tokens, chain_lengths), cmap="viridis_r", vmin=0, vmax=1, aspect="auto", origin="lower",
            interpolation="nearest", extent=edges,
        )  # fmt: skip
        outline = [withStroke(linewidth=3, foreground="white")]  # black would not be seen on the darkest rows
        coverage = (tokens != GAP).sum(axis=0)
        steps = np.append(coverage, coverage[-1])
        style: dict[str, Any] = {"color": "black", "path_effects": outline, "label": "sequences that cover a residue"}
        axes.step(residues, steps, where="post", **style)
        some = f" (the picture has {COVERAGE_ROWS} of them)" if depth > COVERAGE_ROWS else ""
        axes.set(xlabel="residue", ylabel=f"sequences{some}", ylim=(0, depth * 1.02), xlim=edges[:2])
        _whole_ticks(axes.xaxis, 10)
        _whole_ticks(axes.yaxis, 8)
        _mark_chains(axes, chain_lengths, (axes.xaxis,), 10)
        figure.colorbar(image, ax=axes, label="identity to the query")
        figure.legend(loc="outside lower center")


def identities(tokens: NDArray[np.int8], chain_lengths: Sequence[int]) -> NDArray[np.float32]:
    """Of each row the share of the query's residues (the first row's) that match, among the chains that it covers."""
    if not chain_lengths:
        return (tokens == tokens[0]).mean(axis=1, dtype=np.float32)
    matches = (tokens == tokens[0]).sum(axis=1)
    return (matches / np.maximum(covered(tokens, chain_lengths) @ np.array(chain_lengths), 1)).astype(np.float32)


def covered(tokens: NDArray[np.int8], chain_lengths: Sequence[int]) -> NDArray[np.bool_]:
    """[s, k]: which chains each row has residues of."""
    starts = np.cumsum([0, *chain_lengths[:-1]])
    return np.logical_or.reduceat(tokens != GAP, starts, axis=1)


def _rows_by_identity(tokens: NDArray[np.int8], chain_lengths: Sequence[int]) -> NDArray[np.float32]:
    """[row, i]: each row's identity to the first row, NaN in gaps; at most COVERAGE_ROWS rows.

    The lowest come first; of a complex, those of the fewest chains, of the last chain before those of the first.
    """
    identity = identities(tokens, chain_lengths)
    chains = covered(tokens, chain_lengths or [tokens.shape[1]])
    order = np.lexsort((identity, -chains.argmax(axis=1), chains.sum(axis=1)))
    # Rows at even steps of the sorted order, both ends included; those between look like their neighbours.
    steps = np.linspace(0, len(order) - 1, min(len(order), COVERAGE_ROWS)).round().astype(np.int64)
    shown = order[steps]
    return np.where(tokens[shown] != GAP, identity[shown, None], np.float32(np.nan))


@contextlib.contextmanager
def _drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure in STYLE, in inches, which is written to `path` at the end of the block."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        canvas = FigureCanvasAgg(figure)  # no window, whatever MPLBACKEND says
        yield figure
        with atomic_file(path) as file:
            # Figure.savefig would draw twice. Without matplotlib's version the bytes depend on the input alone.
            save: Callable[..., None] = canvas.print_png
            save(file, metadata={"Software": None}, pil_kwargs={"compress_level": PNG_LEVEL})


def _label(k: int, prediction: Prediction) -> str:
    return f"rank {k + 1} · {prediction.model} · seed {prediction.seed}"


def _shade_bands(span: Callable[..., object]) -> Sequence[tuple[int, int, str, str]]:
    """Shade the confidence bands by an axes' axhspan or axvspan, and return them."""
    for low, high, colour, _ in BANDS:
        span(low, high, color=colour, alpha=0.25, linewidth=0)
    return BANDS


def _label_edges(axes: Axes, *, bottom: bool, left: bool) -> None:
    """Label a map's axes only at the bottom and left edges of the grid."""
    axes.tick_params(labelbottom=bottom, labelleft=left)
    if bottom:
        axes.set_xlabel("scored residue")
    if left:
        axes.set_ylabel("aligned residue")


def _numbers(structure: Structure) -> NDArray[np.int64]:
    """Where residues are on an axis: by their numbers, those of several chains one chain after the other from 1."""
    return np.arange(1, len(structure.sequence) + 1) if structure.chain_lengths else structure.residue_index


def _mark_chains(axes: Axes, lengths: Sequence[int], along: Sequence[Axis], most: int) -> None:
    """Lines between the chains of a complex, their names on top, and ticks with the numbers in each chain."""
    if not lengths:
        return
    starts = np.cumsum([0, *lengths[:-1]])
    step = next(size for size in TICK_STEPS if sum(lengths) <= most * size)
    ticks = [
        (start + k, k) for start, length in zip(starts, lengths, strict=True) for k in range(step, length + 1, step)
    ]
    for axis in along:
        axis.set_ticks([place for place, _ in ticks], [str(number) for _, number in ticks])
    for start in starts[1:] + 0.5:
        axes.axvline(start, **BORDER)
        if len(along) > 1:
            axes.axhline(start, **BORDER)
    for k, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        if length * MOST_CHAIN_NAMES >= sum(lengths):
            middle = start + (length + 1) / 2
            axes.text(middle, 1.01, chain_name(k), transform=axes.get_xaxis_transform(), ha="center", va="bottom")


def _whole_ticks(axis: Axis, most: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
