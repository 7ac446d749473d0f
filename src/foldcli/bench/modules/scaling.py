"""Growth of time and memory with length: fitted exponents."""

import math
import statistics
from collections.abc import Mapping, Sequence

from foldcli.bench.modules.results import Figure

Curve = list[tuple[int, float, int]]


def curves(figures: Mapping[int, Sequence[Figure]]) -> dict[str, Curve]:
    """For each module, (length, median seconds, peak bytes) wherever it was measured without chunking."""
    found: dict[str, Curve] = {}
    for length, some in figures.items():
        for figure in some:
            times, peak = figure.forward.times, figure.forward.peak
            if times and peak and not figure.note:
                found.setdefault(figure.module, []).append((length, times.median, peak))
    return found


def exponents(curve: Curve) -> tuple[float, float] | None:
    """Exponents of time and memory by least squares on logarithms; None for fewer than two lengths."""
    if len(curve) < 2:
        return None
    lengths, *values = ([math.log(value) for value in column] for column in zip(*curve, strict=True))
    time, memory = (statistics.linear_regression(lengths, column).slope for column in values)
    return time, memory
