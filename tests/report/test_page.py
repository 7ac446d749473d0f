import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldcli.protein.residues import CA, GAP, residue_types
from foldcli.report.citations import METHODS, citations
from foldcli.report.embedded import IDENTITIES, PAE_STEP, coverage
from foldcli.report.modelcif import modelcif_text
from foldcli.report.page import Contents, report_html
from tests.report.complexes import complex_prediction
from tests.report.samples import moved, prediction, provenance

ATTACK = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)> & \"'"
FETCHING = ("src", "srcset", "data", "poster", "action", "background")


class Parsed(HTMLParser):
    """A page's elements in order, and the text inside those of each tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.open, []).append(data)

    def joined(self, tag: str) -> str:
        return "".join(self.text[tag])

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def contents(folder: Path, title: str = "a title", **given_: Any) -> Contents:
    """A job with three predictions: the second is the first one moved, the third is untrained and has no PAE."""
    first = prediction("MKVLAAGIVX")
    ranked = [first, moved(first, seed=1), prediction("MKVLAAGIVX", 2, ptm=False)]
    pairs = [(one, provenance("job", title, trained=k < 2, depth=3)) for k, one in enumerate(ranked)]
    structures = [folder / f"job_unrelaxed_rank_{k:03d}.cif" for k in range(1, 4)]
    for path, pair in zip(structures, pairs, strict=True):
        path.write_text(modelcif_text(*pair))
    tokens = np.array([[0] * 10, [0] * 5 + [GAP] * 5, [1] * 9 + [0]], np.int8)
    values = {"files": ["timings.json"], "notes": [], "settings": {"num_recycle": 3}, "timings": {"write": 1.25}}
    return Contents(pairs, structures, tokens, **{**values, "citations": citations([]), **given_})


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])  # type: ignore[index]


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


@given(st.text())
def test_what_users_write_is_shown_and_never_obeyed(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    title = ATTACK + words.replace("\r", "").replace("\0", "")
    folder = tmp_path_factory.mktemp("job")
    page = Parsed(report_html(contents(folder, title, notes=[title], settings={title: title})))
    plain = Parsed(report_html(contents(folder, "a title", notes=["a"], settings={"a": "b"})))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert title in page.joined("p") and page.joined("td").count(title) == 1 and title in page.joined("li")


def test_a_page_fetches_nothing_and_runs_its_own_script_only(tmp_path: Path) -> None:
    text = report_html(contents(tmp_path))
    page = Parsed(text)
    assert not [attributes for _, attributes in page.elements if any(name in attributes for name in FETCHING)]
    assert [link["href"] for link in page.attributes("link")] == ["data:,"]
    (policy,) = [meta["content"] for meta in page.attributes("meta") if "http-equiv" in meta]
    code = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy and "default-src 'none'" in policy
    assert re.findall("script-src '(.*?)';", policy) == [
        "sha256-" + base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in code
    ]


def test_the_page_holds_structures_scores_and_their_motions(tmp_path: Path) -> None:
    shown = contents(tmp_path)
    data = data_of(report_html(shown))
    best = shown.ranked[0][0].structure.positions[:, CA]
    laid = []
    for (one, _), path, kept in zip(shown.ranked, shown.structures, data["predictions"], strict=True):
        assert unpacked(kept["text"]) == path.read_bytes()
        assert kept["plddt"] == pytest.approx(one.plddt, abs=0.0501)
        if one.pae is not None:
            pae = np.frombuffer(unpacked(kept["pae"]), np.uint8).reshape(10, 10) * PAE_STEP
            np.testing.assert_allclose(pae, one.pae, atol=PAE_STEP / 2 + 1e-4)
        motion = np.array(kept["motion"])
        laid.append(one.structure.positions[:, CA] @ motion[:, :3].T + motion[:, 3])
    assert data["predictions"][2]["pae"] is None
    known = shown.ranked[0][0].structure.mask[:, CA]
    spread = laid[0][known].std(0)
    assert spread[0] >= spread[1] >= spread[2]  # the chain lies along x, and is seen along its shortest side
    assert np.linalg.norm(laid[0][known] - laid[0][known][0], axis=-1) == pytest.approx(
        np.linalg.norm(best[known] - best[known][0], axis=-1), rel=1e-4
    )
    np.testing.assert_allclose(laid[1][known], laid[0][known], atol=0.01)


def test_a_long_proteins_map_is_shrunk_and_the_page_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldcli.report.aligned_errors.MAP_PIXELS", 4)
    shown = contents(tmp_path)
    data = data_of(report_html(shown))
    pae = shown.ranked[0][0].pae
    assert data["paeBlock"] == 2 and pae is not None
    found = np.frombuffer(unpacked(data["predictions"][0]["pae"]), np.uint8).reshape(5, 5) * PAE_STEP
    np.testing.assert_allclose(found, pae.reshape(5, 2, 5, 2).mean((1, 3)), atol=PAE_STEP / 2 + 1e-4)


def test_coverage_counts_residues_by_the_identity_of_their_row() -> None:
    tokens = np.array([[0] * 10, [0] * 5 + [GAP] * 5, [1] * 9 + [0]], np.int8)
    layers = coverage(tokens)
    assert layers[IDENTITIES.index(0.8)] == [1] * 10  # the query itself
    assert layers[IDENTITIES.index(0.4)] == [1] * 5 + [0] * 5  # half of the query's residues
    assert layers[IDENTITIES.index(0.0)] == [1] * 10
    assert np.sum(layers) == (tokens != GAP).sum()


def test_the_page_says_what_was_used_and_what_was_not(tmp_path: Path) -> None:
    page = Parsed(report_html(contents(tmp_path, notes=["template not used: x.pdb: has no chain"])))
    items = page.joined("li")
    assert "none were shown" in items and "template not used" in items and "model_1: AlphaFold" in items
    assert "UNTRAINED" in page.joined("p")
    assert "alignment of 3 sequences" in page.joined("dd")
    assert page.joined("td").count("1.25 s") == 1


def test_every_method_has_papers_and_only_those_used_are_cited() -> None:
    for method, keys in METHODS.items():
        cited = citations([method])
        assert [one.use for one in cited].count(method) == len(keys)
        for one in cited:
            assert re.match(r"@\w+\{\w+,\n", one.bibtex) and not re.search(r"[{}\\]|--", one.text)
            assert one.link.startswith("https://")
    assert [one.bibtex[:21] for one in citations([])] == ["@article{jumper2021,\n", "@article{rego2015,\n  "]
    assert "Schütze" in "".join(one.text for one in citations(["alignment from the ColabFold server"]))
    with pytest.raises(KeyError):
        citations(["guessing"])


def test_a_complex_has_its_chains_and_interfaces(tmp_path: Path) -> None:
    predicted = complex_prediction()
    pair = (predicted, provenance())
    (tmp_path / "one.cif").write_text(modelcif_text(*pair))
    tokens = np.tile(residue_types(predicted.structure.sequence), (3, 1))
    tokens[1, 19:] = tokens[2, :39] = GAP
    page = report_html(Contents([pair], [tmp_path / "one.cif"], tokens, [], [], {}, {}, citations([])))
    data = data_of(page)
    assert data["chains"] == [["A", 0, 18], ["B", 19, 38], ["C", 39, 57]]
    assert [min(layer) for layer in data["coverage"]] == [1, 0, 0, 0, 0]
    assert data["coverage"][0][0] == 2  # a row of one chain is as like the query as its residues there
    (one,) = data["predictions"]
    touching, *others = one["interfaces"]
    assert touching["pair"] == [0, 1] and [pair["residues"] for pair in others] == [[], []]
    assert touching["contacts"] == 27 and {i < 19 for i in touching["residues"]} == {True, False}
    found = predicted.interfaces
    assert found is not None and touching["ipsae"] == pytest.approx(max(found.ipsae[0, 1], found.ipsae[1, 0]), abs=1e-4)
    assert one["chains"][2]["plddt"] == pytest.approx(found.plddt[2], abs=0.006)
    seen = Parsed(page)
    assert "58 in 3 chains" in seen.joined("dd") and 'id="interfaces"' in page
    assert 'id="interfaces"' not in report_html(contents(tmp_path))
