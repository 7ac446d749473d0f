"""Draw the measurements of modules as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from foldcli.bench.limits import Limits
from foldcli.bench.modules.results import Figure, Measured
from foldcli.bench.modules.scaling import Curve, curves
from foldcli.files import atomic_file


def draw(measured: Measured, folder: Path) -> list[Path]:
    """Plot each length against the roofline, and growth if there are several lengths; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"modules-{length}.png" for length in measured.figures]
    for path, figures in zip(paths, measured.figures.values(), strict=True):
        limits_png(path, figures, measured.limits)
    if len(paths) > 1:
        paths.append(folder / "growth.png")
        growth_png(paths[-1], curves(measured.figures))
    return paths


def limits_png(path: Path, figures: Sequence[Figure], limits: Limits) -> None:
    """Plot each module's fraction of the roofline, with its time; FoldcliError if unwritable."""
    from matplotlib.figure import Figure as Picture

    shown = [(figure, figure.forward.times.median) for figure in figures if figure.forward.times is not None]
    shares = [100 * limits.least_seconds(figure.forward.work) / seconds for figure, seconds in shown]
    picture = Picture(figsize=(8, 1.2 + 0.3 * len(shown)), layout="constrained")
    axis = picture.subplots()
    bars = axis.barh([figure.module for figure, _ in shown], shares, color="#56b4e9")
    axis.bar_label(bars, [f"{1e3 * seconds:,.1f} ms" for _, seconds in shown], padding=3, fontsize=8)
    axis.set(xlabel="% of the rate of a matrix product, or of a copy where that is the limit; forward", xlim=(0, 110))
    axis.invert_yaxis()
    with atomic_file(path) as file:
        picture.savefig(file, format="png", dpi=120, metadata={"Software": None})


def growth_png(path: Path, found: Mapping[str, Curve]) -> None:
    """Plot time and memory against length on logarithmic axes; FoldcliError if unwritable."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(11, 5), layout="constrained")
    axes = picture.subplots(1, 2)
    for number, (module, curve) in enumerate(found.items()):
        lengths, seconds, memory = zip(*curve, strict=True)
        style = "-o" if number < 10 else "--s"
        axes[0].plot(lengths, [1e3 * value for value in seconds], style, label=module, markersize=4)
        axes[1].plot(lengths, [value / 2**20 for value in memory], style, markersize=4)
    ticks = sorted({length for curve in found.values() for length, *_ in curve})
    for axis, label in zip(axes, ("ms", "MiB beside inputs and parameters"), strict=True):
        axis.set(xlabel="residues", ylabel=label, xscale="log", yscale="log")
        axis.set_xticks(ticks, [str(length) for length in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    picture.legend(loc="outside right upper", fontsize=8, frameon=False)
    with atomic_file(path) as file:
        picture.savefig(file, format="png", dpi=120, metadata={"Software": None})
