from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foldcli.protein.residues import GAP
from foldcli.protein.structure import Prediction
from foldcli.report.plots import (
    BANDS,
    COVERAGE_ROWS,
    _rows_by_identity,
    coverage_png,
    identities,
    pae_png,
    plddt_png,
    ranking_png,
)
from tests.report.complexes import complex_prediction
from tests.report.samples import prediction


def _pixels(path: Path) -> NDArray[np.uint8]:
    """[height, width, 3] in 0..255."""
    from matplotlib.image import imread

    return np.round(imread(path)[..., :3] * 255).astype(np.uint8)


def _share(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour).max(-1) <= 2).mean())


def _ranks(count: int, length: int = 30) -> list[Prediction]:
    return [prediction("M" * length, seed) for seed in range(count)]


def test_plddt_shows_every_band_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "plddt.png"
    flat = replace(prediction("M" * 30), plddt=np.full(30, 80, np.float32))
    plddt_png([flat], path)
    image = _pixels(path)
    for low, high, colour, _ in BANDS:
        rgb = [round(255 - 0.25 * (255 - int(colour[k : k + 2], 16))) for k in (1, 3, 5)]
        assert _share(image, (rgb[0], rgb[1], rgb[2])) == pytest.approx(
            (high - low) / 100, abs=0.4 * (high - low) / 100
        )
    row = np.abs(image.astype(int)).max(-1)[:, 400:800]  # the inner columns hold no tick and no frame but the border
    dark = np.flatnonzero((row < 110).all(1))
    top, bottom = dark.min(), dark.max()
    assert any(abs((bottom - y) / (bottom - top) - 0.8) < 0.01 for y in dark)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 1), (5, 1), (7, 2)])
def test_pae_draws_a_map_for_each_rank(tmp_path: Path, count: int, rows: int) -> None:
    path = tmp_path / "pae.png"
    dark = [replace(p, pae=np.full((30, 30), 5, np.float32)) for p in _ranks(count)]
    pae_png([*dark, prediction("MKV", ptm=False)], path)
    image = _pixels(path)
    plain = (image == image[image.shape[0] // 2 // rows, image.shape[1] // 8]).all(-1)
    assert plain.mean() > 0.1
    starts = np.diff(plain[image.shape[0] // 2 // rows].astype(int)) == 1
    assert starts.sum() == min(count, 5)


def test_pae_has_the_scored_residue_on_x_and_a_fixed_scale(tmp_path: Path) -> None:
    path = tmp_path / "pae.png"
    pae = np.full((30, 30), 16, np.float32)
    pae[:15, 15:] = 31  # aligned on the first half, the second half is far off
    pae[15:, :15] = 1
    pae_png([replace(prediction("M" * 30), pae=pae)], path)
    image = _pixels(path)
    assert image[200, 450].sum() > 700  # near white, above right
    assert image[500, 200].sum() < 300  # dark green, below left


def test_pae_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PAE"):
        pae_png([prediction("MK", ptm=False)], tmp_path / "pae.png")
    assert list(tmp_path.iterdir()) == []


def test_ranking_has_a_dot_for_each_prediction(tmp_path: Path) -> None:
    path = tmp_path / "ranking.png"
    flat = [np.full(30, plddt, np.float32) for plddt in (95, 65, 35)]
    pairs = zip(_ranks(3), flat, strict=True)
    ranked = [replace(one, plddt=plddt, ptm=float(plddt[0]) / 100 - 0.1) for one, plddt in pairs]
    ranking_png(ranked, path)
    image = _pixels(path)
    blobs = np.lib.stride_tricks.sliding_window_view((image < 60).all(-1), (6, 6)).all((2, 3))
    middle = image.shape[1] * 2 // 3
    for panel in (blobs[:, :middle], blobs[:, middle:]):  # text has no strokes as wide as a dot
        rows = np.flatnonzero(panel.any(1))
        dots = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        places = [np.flatnonzero(panel[dot].any(0)).mean() for dot in dots]
        assert len(places) == 3 and places == sorted(places, reverse=True)
    ranking_png([replace(one, ptm=None) for one in ranked] * 20, path)  # too many to name, and without pTM
    assert _pixels(path).std() > 20


def test_coverage_sorts_by_identity_and_leaves_gaps_white(tmp_path: Path) -> None:
    path = tmp_path / "coverage.png"
    tokens = np.zeros((3, 40), np.int8)
    tokens[1] = 5  # nothing like the query, over the left half alone
    tokens[1, 20:] = GAP
    tokens[2, :20] = 3  # half like it
    coverage_png(tokens, path)
    image = _pixels(path)[:, 80:1000]
    height = np.flatnonzero((image[:, 100] < 255).any(-1)).max()
    bottom, middle, top = (image[int(height * f), 50] for f in (0.7, 0.4, 0.12))
    assert bottom[0] > 200 > middle[0]  # yellow below, then green, dark purple on top
    assert middle.sum() > top.sum()
    assert (image[int(height * 0.7), 700] == 255).all()


@pytest.mark.parametrize(("depth", "length"), [(1, 1), (1, 50), (20 * COVERAGE_ROWS, 40)])
def test_coverage_of_one_row_and_of_many(tmp_path: Path, depth: int, length: int) -> None:
    path = tmp_path / "coverage.png"
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 22, (depth, length), dtype=np.int8)
    tokens[0] = rng.integers(0, 20, length)
    coverage_png(tokens, path)
    assert _pixels(path).std() > 20
    assert path.stat().st_size < 300_000


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        plddt_png(_ranks(12), tmp_path / f"{name}1.png")
        pae_png(_ranks(2), tmp_path / f"{name}2.png")
    for k in (1, 2):
        first = (tmp_path / f"a{k}.png").read_bytes()
        assert first == (tmp_path / f"b{k}.png").read_bytes()
        assert b"matplotlib" not in first


def test_chains_are_told_apart(tmp_path: Path) -> None:
    """Dark lines between chains cross the map both ways and the track once, where the line of pLDDT is broken."""
    predicted = replace(complex_prediction(), plddt=np.full(58, 80, np.float32), pae=np.full((58, 58), 31, np.float32))
    pae_png([predicted], tmp_path / "pae.png")
    map_ = (_pixels(tmp_path / "pae.png")[:, :600] < 140).all(-1)
    assert [len(_runs(map_.mean(axis) > 0.3)) for axis in (0, 1)] == [4, 4]  # two borders between the frame's sides
    plddt_png([predicted], tmp_path / "plddt.png")
    track = (_pixels(tmp_path / "plddt.png") < 20).all(-1)
    line = track[track.mean(1).argmax()]
    chains = np.array([(first, last) for first, last in _runs(line) if last - first > 50])
    assert (np.diff(chains) > 250).all() and (chains[1:, 0] - chains[:-1, 1] > 10).tolist() == [True, True]


def _runs(dark: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First and last of each run of dark pixels."""
    return np.flatnonzero(np.diff(dark.astype(int), prepend=0, append=0)).reshape(-1, 2)


def test_rows_of_several_chains_are_above_those_of_one(tmp_path: Path) -> None:
    tokens = np.zeros((5, 40), np.int8)
    tokens[1, 20:] = tokens[2, :20] = tokens[3, :20] = GAP
    tokens[4] = 5  # nothing like the query, but paired
    assert identities(tokens, (20, 20)).tolist() == [1, 1, 1, 1, 0]
    shown = _rows_by_identity(tokens, (20, 20))
    assert [np.isfinite(row[[0, 20]]).tolist() for row in shown] == [[False, True]] * 2 + [[True, False]] + [
        [True, True]
    ] * 2
    assert shown[-2, 0] == 0 and shown[-1, 0] == 1
    coverage_png(tokens, tmp_path / "coverage.png", 1, (20, 20))
    assert _pixels(tmp_path / "coverage.png").std() > 20
