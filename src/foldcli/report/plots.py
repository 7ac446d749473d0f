"""Plots of confidence and of alignment coverage as PNG files, reproducible to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from foldcli.files import atomic_file
from foldcli.protein.residues import GAP
from foldcli.protein.structure import Prediction

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
DPI: Final = 150


def plddt_png(predictions: Sequence[Prediction], path: Path) -> None:
    """Draw pLDDT along the sequence over AlphaFold's confidence bands, one line for each rank, best first.

    Past the tenth rank the lines are thin and grey. Errors: FoldcliError if `path` cannot be written.
    """
    figure = _figure(8, 4.8)
    axes = figure.subplots()
    _draw_bands(axes)
    named = predictions[: len(LINES) * len(DASHES)]
    for k, prediction in reversed(list(enumerate(predictions))):  # the best on top
        style: dict[str, Any] = {"color": "0.5", "linewidth": 0.5}
        if k < len(named):
            style = {"color": LINES[k % len(LINES)], "linestyle": DASHES[k // len(LINES)], "linewidth": 1.3}
            style["label"] = f"{_label(k, prediction)}, mean {prediction.mean_plddt:.1f}"
        marker = "o" if len(prediction.plddt) == 1 else None
        axes.plot(prediction.structure.residue_index, prediction.plddt, marker=marker, **style)
    axes.set(xlabel="residue", ylabel="pLDDT", ylim=(0, 100))
    axes.margins(x=0)
    _whole_ticks(axes.xaxis, 10)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    _save(figure, path)


def pae_png(predictions: Sequence[Prediction], path: Path) -> None:
    """Draw the predicted aligned error of each rank as a map, at most five in a row; ranks without one are left out.

    Errors: ValueError if no prediction has a PAE; FoldcliError if `path` cannot be written.
    """
    maps = [(_label(k, p), p.pae, p.max_pae) for k, p in enumerate(predictions) if p.pae is not None]
    if not maps:
        raise ValueError("none of the predictions has a PAE")
    columns, rows = min(len(maps), MAPS_A_ROW), -(-len(maps) // MAPS_A_ROW)
    width = (4.8, 6.4, 8.0)[min(columns, 3) - 1]
    figure = _figure(width, rows * ((width - 1.3) / columns + 0.7) + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    ceiling = max(limit if limit is not None else float(pae.max()) for _, pae, limit in maps)
    for k, (axes, (label, pae, _)) in enumerate(zip(grid.flat, maps, strict=False)):
        edges = (0.5, len(pae) + 0.5, len(pae) + 0.5, 0.5)
        image = axes.imshow(pae, cmap="Greens_r", vmin=0, vmax=ceiling, extent=edges)
        axes.set_title(label.replace(" · ", "\n"), fontsize=8)
        for axis in (axes.xaxis, axes.yaxis):
            _whole_ticks(axis, 3 if columns > 3 else 6)
        _label_edges(axes, bottom=k + columns >= len(maps), left=k % columns == 0)
    for axes in grid.flat[len(maps) :]:
        axes.set_visible(False)
    bar = figure.colorbar(image, ax=grid, shrink=1 if rows == 1 else 0.5)
    bar.set_label("expected error (Å)", fontsize=9)
    _save(figure, path)


def coverage_png(tokens: NDArray[np.int8], path: Path) -> None:
    """Draw an alignment's rows, sorted by identity to the query (the first row), and each residue's coverage.

    tokens [s, i], 21 a gap. Identity is the fraction of the query's residues that match. Errors: FoldcliError if `path`
    cannot be written.
    """
    from matplotlib.patheffects import withStroke

    depth, length = tokens.shape
    figure = _figure(8, 4.5)
    axes = figure.subplots()
    edges = (0.5, length + 0.5, 0, depth)
    cells = _rows_by_identity(tokens)
    image = axes.imshow(
        cells, cmap="viridis_r", vmin=0, vmax=1, aspect="auto", origin="lower", interpolation="nearest", extent=edges
    )
    coverage, residues = (tokens != GAP).sum(axis=0), np.arange(length + 1) + 0.5
    outline = [withStroke(linewidth=3, foreground="white")]  # black would not be seen on the darkest rows
    line = axes.stairs(coverage, residues, baseline=None, color="black", linewidth=1.5, path_effects=outline)
    line.set_label("sequences that cover a residue")
    axes.set(xlabel="residue", ylabel="sequences", ylim=(0, depth * 1.02), xlim=edges[:2])
    _whole_ticks(axes.xaxis, 10)
    _whole_ticks(axes.yaxis, 8)
    figure.colorbar(image, ax=axes, label="identity to the query")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    _save(figure, path)


def _rows_by_identity(tokens: NDArray[np.int8]) -> NDArray[np.float64]:
    """[row, i]: each row's identity to the first row, NaN in gaps; the lowest first, at most COVERAGE_ROWS rows."""
    identity = (tokens == tokens[0]).mean(axis=1)
    order = np.argsort(identity, kind="stable")
    # Rows at even steps of the sorted order, both ends included; those between look like their neighbours.
    steps = np.linspace(0, len(order) - 1, min(len(order), COVERAGE_ROWS)).round().astype(np.int64)
    shown = order[steps]
    return np.where(tokens[shown] != GAP, identity[shown, None], np.nan)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever MPLBACKEND says
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as file:
        # Leave out matplotlib's version, so that the bytes depend on the input alone.
        figure.savefig(file, format="png", metadata={"Software": None})


def _label(k: int, prediction: Prediction) -> str:
    return f"rank {k + 1} · {prediction.model} · seed {prediction.seed}"


def _draw_bands(axes: Axes) -> None:
    for low, high, colour, name in BANDS:
        axes.axhspan(low, high, color=colour, alpha=0.25, linewidth=0)
        label = f" {name}"
        axes.text(1, (low + high) / 2, label, transform=axes.get_yaxis_transform(), va="center", fontsize=9)


def _label_edges(axes: Axes, *, bottom: bool, left: bool) -> None:
    """Label a map's axes only at the bottom and left edges of the grid."""
    axes.tick_params(labelbottom=bottom, labelleft=left, labelsize=8)
    if bottom:
        axes.set_xlabel("scored residue", fontsize=8)
    if left:
        axes.set_ylabel("aligned residue", fontsize=8)


def _whole_ticks(axis: Axis, most: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
