"""Plot a run's loss and validation curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.files import atomic_file


def plot_curves(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Plot the loss, its terms and the validation scores of a log over the steps; FoldcliError if unwritable."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in sorted({name for line in lines for name in line if name.startswith("loss/")}):
        steps, values = _series(lines, name)
        main = name == "loss/total"
        left.plot(steps, _smooth(values), label=name.removeprefix("loss/"), color="black" if main else None,
                  linewidth=1.8 if main else 0.9)  # fmt: skip
    left.set(xlabel="step", ylabel="loss (running mean)", yscale="log")
    left.legend(fontsize=7, frameon=False, ncols=2)
    for name in sorted({name for line in lines for name in line if name.startswith("validation/")}):
        if name.split("/")[1] in ("lddt", "tm_score", "gdt_ts", "alone_lddt"):
            right.plot(*_series(lines, name), marker=".", label=name.removeprefix("validation/"))
    right.set(xlabel="step", ylabel="on validation chains", ylim=(0, 1))
    if right.lines:
        right.legend(fontsize=7, frameon=False)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = np.array([(line["step"], line[name]) for line in lines if name in line], float)
    return points[:, 0], points[:, 1]


def _smooth(values: NDArray[np.float64], window: int = 25) -> NDArray[np.float64]:
    """Running mean over each value and the `window` - 1 before it."""
    sums = np.concatenate([[0], np.nancumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
