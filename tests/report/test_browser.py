"""Reports in a real Chromium; run by `make report-check`, not by every test run, since they need the browser."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from foldcli.data.training.shards import Shard
from foldcli.folding.index import index_html
from foldcli.folding.record import Record
from foldcli.protein.structure import Prediction, Structure
from foldcli.report.citations import citations
from foldcli.report.modelcif import modelcif_text
from foldcli.report.page import Contents, report_html
from tests.report.complexes import complex_prediction, dimer
from tests.report.samples import moved, provenance

if "FOLDCLI_CHROMIUM" not in os.environ:
    pytest.skip("needs a browser: make report-check", allow_module_level=True)

from tests.report.browser import chromium, launched, opened, wait_until_drawn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHAINS = Path(__file__).parents[1] / "golden" / "chains.npz"
LAPTOP, PHONE = (1280, 800), (390, 844)
ATTACK = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title = 'hacked'\">"
VERY_HIGH, CONFIDENT, ALIGNED, SCORED = (0, 83, 214), (101, 203, 243), (194, 24, 111), (0, 121, 107)
FIRST_CHAIN, SECOND_CHAIN = (0, 114, 178), (230, 159, 0)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as one:
        yield one


def folded(ptm: bool = True) -> Prediction:
    """A real chain's backbone as a prediction, with higher pLDDT in its first half."""
    chain = Shard(CHAINS).load(0)
    length = len(chain.sequence)
    plddt = np.where(np.arange(length) < length // 2, 95, 75).astype(np.float32)
    structure = Structure(chain.sequence, chain.positions, chain.mask, np.arange(1, length + 1), plddt)
    pae = np.abs(np.subtract.outer(np.arange(length), np.arange(length))).clip(0, 31).astype(np.float32)
    confidence = {"ptm": 0.8, "pae": pae, "max_pae": 31.75} if ptm else {}
    return Prediction(structure, plddt, "model_1", 0, 3, **confidence)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return write_page(tmp_path / "job", [folded(), replace(moved(folded(), 1), plddt=folded().plddt - 20)])


def write_page(folder: Path, predictions: list[Prediction], title: str = ATTACK) -> Path:
    folder.mkdir()
    pairs = [(one, provenance("job", title)) for one in predictions]
    files = [folder / f"rank_{k}.cif" for k in range(len(pairs))]
    for file, pair in zip(files, pairs, strict=True):
        file.write_text(modelcif_text(*pair))
    tokens = np.zeros((5, len(predictions[0].plddt)), np.int8)
    names = [file.name for file in files]
    page = folder / "report.html"
    page.write_text(report_html(Contents(pairs, files, tokens, names, [], {}, {"write": 1.0}, citations([]))))
    return page


def pixels(page: "Page", selector: str, folder: Path) -> NDArray[np.int64]:
    from matplotlib.image import imread

    page.locator(selector).screenshot(path=folder / "part.png")
    return np.round(imread(folder / "part.png")[..., :3] * 255).astype(np.int64)


def has_hue(image: NDArray[np.int64], colour: tuple[int, int, int]) -> bool:
    """Whether a picture shows a hue at any brightness: the direction of RGB, among pixels neither grey nor dark."""
    lit = image[(image.max(-1) > 60) & (np.ptp(image, axis=-1) > 40)]
    near = lit @ np.array(colour) / np.linalg.norm(lit, axis=-1) / np.linalg.norm(colour) > 0.995
    return bool(near.sum() > 150)


def at(page: "Page", row: float, column: float) -> tuple[float, float]:
    """The window position of a point of the PAE map, given as fractions of its sides."""
    page.locator("#pae").scroll_into_view_if_needed()
    edges = page.locator("#pae").bounding_box()
    assert edges
    return edges["x"] + column * edges["width"], edges["y"] + row * edges["height"]


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_a_page_draws_selects_and_switches_without_a_network(
    browser: "Browser", job: Path, size: tuple[int, int], tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url) if request.url[:5] not in ("file:", "data:") else None)
    page.goto(job.as_uri())
    wait_until_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.title() == "job · predicted structure"
    image = pixels(page, "#viewer", tmp_path)
    assert has_hue(image, VERY_HIGH) and has_hue(image, CONFIDENT) and not has_hue(image, ALIGNED)
    assert len(np.unique(pixels(page, "#pae", tmp_path).reshape(-1, 3), axis=0)) > 20

    length = len(folded().plddt)
    page.mouse.click(*at(page, 0.25, 0.75))
    row, column = int(0.25 * length) + 1, int(0.75 * length) + 1
    assert page.input_value("#aligned") == str(row) and page.input_value("#scored") == str(column)
    assert f"mean expected error {min(31, column - row):.1f} Å" in page.inner_text("#selected")

    page.mouse.move(*at(page, 0.05, 0.55))
    page.mouse.down()
    page.mouse.move(*at(page, 0.45, 0.95), steps=5)
    page.mouse.up()
    assert page.input_value("#aligned") == f"{int(0.05 * length) + 1}-{int(0.45 * length) + 1}"
    wait_until_drawn(page)
    image = pixels(page, "#viewer", tmp_path)
    assert has_hue(image, ALIGNED) and has_hue(image, SCORED) and not has_hue(image, CONFIDENT)

    page.keyboard.press("Escape")
    page.locator("input[name=rank]").nth(1).focus()
    page.keyboard.press("Space")
    wait_until_drawn(page)
    image = pixels(page, "#viewer", tmp_path)
    assert has_hue(image, CONFIDENT) and not has_hue(image, VERY_HIGH)
    assert told == []
    context.close()


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_without_aligned_errors_there_is_no_map_and_residues_are_typed(
    browser: "Browser", tmp_path: Path, size: tuple[int, int]
) -> None:
    page = opened(browser, write_page(tmp_path / "job", [folded(ptm=False)]), *size)
    wait_until_drawn(page)
    assert not page.is_visible("#pae") and not page.is_visible("#scored")
    page.fill("#aligned", "2 - 4")
    page.keyboard.press("Enter")
    assert page.inner_text("#selected") == "2-4 (3 residues, mean pLDDT 95.0)."
    page.fill("#aligned", "0-4")
    page.keyboard.press("Enter")
    assert "Give residues from 1 to" in page.inner_text("#selected")
    assert page.get_attribute("#aligned", "aria-invalid") == "true"


def test_a_shrunk_map_says_so_and_is_read_by_residue(
    browser: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldcli.report.aligned_errors.MAP_PIXELS", len(folded().plddt) // 3)
    page = opened(browser, write_page(tmp_path / "job", [folded()]), *LAPTOP)
    wait_until_drawn(page)
    assert "Shown at 1 in 3: each point is the mean of 3 × 3 pairs" in page.inner_text("#map-blocks")
    length = len(folded().plddt)
    page.mouse.click(*at(page, 0.25, 0.75))
    row, column = int(0.25 * length) + 1, int(0.75 * length) + 1
    assert page.input_value("#aligned") == str(row) and page.input_value("#scored") == str(column)
    found = re.search(r"mean expected error ([\d.]+) Å", page.inner_text("#selected"))
    assert found and float(found[1]) == pytest.approx(min(31, column - row), abs=2.1)


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_a_complex_is_shown_by_chain_and_its_interfaces_can_be_clicked(
    browser: "Browser", tmp_path: Path, size: tuple[int, int]
) -> None:
    page = opened(browser, write_page(tmp_path / "job", [complex_prediction(dimer())]), *size)
    wait_until_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    image = pixels(page, "#viewer", tmp_path)
    assert has_hue(image, FIRST_CHAIN) and has_hue(image, SECOND_CHAIN)
    assert page.locator("#map .border").count() == 2 and page.locator("#plddt line.border").count() == 1
    page.check("#colour-plddt")
    page.wait_for_timeout(200)
    assert not has_hue(pixels(page, "#viewer", tmp_path), SECOND_CHAIN)

    page.click("#interfaces button >> nth=0")
    page.wait_for_timeout(500)
    wait_until_drawn(page)
    assert (page.input_value("#aligned"), page.input_value("#scored")) == ("A:1-19", "B:1-20")
    image = pixels(page, "#viewer", tmp_path)
    assert has_hue(image, ALIGNED) and has_hue(image, SCORED) and not has_hue(image, FIRST_CHAIN)
    for typed, said in (("B", "B:1-20 (20 residues"), ("B:3", "B:3 (1 residue,"), ("A:18-B:2", "A:18-B:2 (4 residues")):
        page.fill("#scored", "")
        page.fill("#aligned", typed)
        page.keyboard.press("Enter")
        assert said in page.inner_text("#selected")
    page.fill("#aligned", "D:3")
    page.keyboard.press("Enter")
    assert page.inner_text("#selected") == "Give residues from A:1 to B:20, such as A:1 or A:1-19."


def test_the_file_that_is_saved_is_the_one_in_the_folder(browser: "Browser", job: Path) -> None:
    page = opened(browser, job, *LAPTOP)
    wait_until_drawn(page)
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "rank_0.cif"
    assert download.value.path().read_bytes() == (job.parent / "rank_0.cif").read_bytes()


def test_the_policy_stops_what_escaping_would_let_through(browser: "Browser", job: Path) -> None:
    text = job.read_text()
    job.write_text(text.replace("&lt;script&gt;document.title = &#x27;hacked&#x27;&lt;/script&gt;", ATTACK))
    assert job.read_text() != text
    page = opened(browser, job, *LAPTOP)
    wait_until_drawn(page)
    assert page.title() == "job · predicted structure"


def test_without_webgl_the_page_says_so_and_the_rest_works(browser: "Browser", job: Path) -> None:
    flags = ("--disable-gpu", "--disable-software-rasterizer", "--disable-3d-apis")
    with launched(browser.browser_type, *flags) as without:
        page = opened(without, job, *LAPTOP)
        wait_until_drawn(page)
        assert "no WebGL" in page.inner_text("#viewer")
        page.mouse.click(*at(page, 0.5, 0.5))
        assert page.input_value("#aligned")


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_the_index_sorts_and_leads_to_a_job(browser: "Browser", job: Path, size: tuple[int, int]) -> None:
    records = [
        Record(name, "done", 10, 1, plddt=plddt, files=["report.html"]) for name, plddt in (("a", 9.5), ("job", 80.0))
    ]
    index = job.parents[1] / "index.html"
    index.write_text(index_html([*records, Record("z", "failed", 5, 1, error="a long reason " * 9)]))
    page = opened(browser, index, *size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]

    def order() -> list[str]:
        return page.locator("tbody td:first-child").all_inner_texts()

    assert order() == ["a", "job", "z"]
    for expected in (["a", "job", "z"], ["job", "a", "z"]):  # the failed job has no pLDDT, and stays last
        page.locator("th button", has_text="pLDDT").click()
        assert order() == expected
    page.locator("td a", has_text="job").click()
    wait_until_drawn(page)
    page.click("text=All jobs of this run")
    assert page.title() == "foldcli: jobs of a run"
