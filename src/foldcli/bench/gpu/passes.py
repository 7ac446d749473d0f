"""Passes of a whole model as `fold` runs them: seconds, and peak memory against what was predicted."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from foldcli.bench.gpu.checks import failure
from foldcli.byte_units import GIB
from foldcli.data.query import Alignment, Query
from foldcli.folding.api import load_model
from foldcli.folding.forecast import forecasts
from foldcli.folding.predictor import Predictor
from foldcli.protein.residues import LETTERS
from foldcli.system_memory import peak_bytes
from foldcli.timers import Timers

LENGTHS, LONG_LENGTHS = (128, 256, 512, 1024), (2048, 3072)
# A single sequence, and as many as model_1_ptm reads: 508 in its MSA, 1,024 in its extra MSA.
ROWS = (1, 508 + 1024)
# Seconds to reach on one H100 with all of these, by length.
GOALS = {256: 0.08, 512: 0.25, 1024: 0.85, 2048: 4.0}
# After the first pass, which compiles kernels, and the second, which captures CUDA graphs, comes one that is warm.
RECYCLES = 2


def passes(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield passes of up to 1024 residues."""
    return _passes(device, LENGTHS)


def long_passes(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield passes of more."""
    return _passes(device, LONG_LENGTHS)


def _passes(device: torch.device, lengths: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    dry = device.type == "cpu"
    predictor = load_model(
        "tiny" if dry else "model_1_ptm", "untrained", num_recycle=RECYCLES, templates=False, device=device.type
    )
    for length in (8,) if dry else lengths:
        for rows in (1, 5) if dry else ROWS:
            row: dict[str, Any] = {"what": f"pass of {predictor.sources[0].name}", "size": f"r={length} s={rows}"}
            row |= {"goal_seconds": GOALS.get(length)} if rows == ROWS[-1] else {}
            try:
                yield row | {"ok": True} | _pass(predictor, random_query(length, rows))
            except Exception as error:  # one failing size must not lose the others
                yield row | failure(error)


def _pass(predictor: Predictor, query: Query) -> dict[str, float]:
    """Return seconds of the first pass and of a warm one, peak memory, and what was predicted of both."""
    predictor.timers = Timers()
    predictor.predict(query)
    peak = peak_bytes(predictor.device) / GIB
    seconds = [spent for name, spent in predictor.timers.seconds.items() if "_pass_" in name]
    forecast = forecasts(predictor.sources, [query])[0]
    parameters = forecast.parameters * predictor.precision.itemsize
    return {
        "seconds": seconds[-1], "first_seconds": seconds[0], "peak_gib": round(peak, 3),
        "predicted_gib": round(((forecast.planned or forecast.whole) + parameters) / GIB, 3),
        "predicted_seconds": forecast.seconds / len(seconds),
    }  # fmt: skip


def random_query(length: int, rows: int) -> Query:
    """Return a random sequence, with random rows aligned to it unless it is alone."""
    tokens = np.random.default_rng(0).integers(20, size=(rows, length)).astype(np.int8)
    sequence = "".join(LETTERS[token] for token in tokens[0])
    alignment = Alignment(tokens, np.zeros(tokens.shape, np.int32)) if rows > 1 else None
    return Query("random", "", sequence, "gpu-report", alignment)
