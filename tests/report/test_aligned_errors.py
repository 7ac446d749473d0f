"""Aligned errors of long proteins: their files are written row by row, and maps of them are shrunk."""

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldcli.errors import FoldcliError
from foldcli.files import write_atomic
from foldcli.report.aligned_errors import MAP_PIXELS, block_side, database_json, shrunk, write_npz
from tests.report.samples import prediction

LONG = prediction("M" * 2000)


def test_npz_is_read_back() -> None:
    predicted, file = prediction("MKVL"), io.BytesIO()
    write_npz(file, predicted)
    file.seek(0)
    with np.load(file) as found:
        assert sorted(found) == ["max_pae", "pae"] and found["max_pae"] == 31.75
        np.testing.assert_allclose(found["pae"].astype(np.float32), predicted.pae, atol=0.008)
    with pytest.raises(FoldcliError, match="PAE at residue 1 is not finite"):
        write_npz(io.BytesIO(), replace(predicted, pae=np.full((4, 4), np.nan, np.float32)))


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_writing_takes_little_beside_the_array(tmp_path: Path, kind: str) -> None:
    tracemalloc.start()
    try:
        if kind == "json":
            write_atomic(tmp_path / "pae.json", database_json(LONG))
        else:
            with (tmp_path / "pae.npz").open("wb") as file:
                write_npz(file, LONG)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert LONG.pae is not None and peak < 3 << 20 < LONG.pae.nbytes


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_large_map_is_shown_as_means_of_its_blocks(side: int) -> None:
    length = side * MAP_PIXELS + side - 1  # the last block is smaller, where there are blocks
    rows = np.arange(length, dtype=np.float32)
    assert block_side(length) == side
    blocks = np.array([rows[k : k + side].mean() for k in range(0, length, side)])
    np.testing.assert_allclose(shrunk(rows[:, None] + 1e4 * rows), blocks[:, None] + 1e4 * blocks, rtol=1e-6)
