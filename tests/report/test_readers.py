"""Files of confidence as other programs read them; each reader follows its program's documentation."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foldcli.protein.structure import Prediction
from foldcli.report.aligned_errors import database_json
from foldcli.report.scores import (
    ranking_score,
    ranking_scores_csv,
    scores_json,
    summary_confidences_json,
)
from tests.report.complexes import complex_prediction
from tests.report.samples import prediction

# AlphaFold 3's summary of a job, "Summary confidences JSON" in its output.md: each key and the types of its value.
SUMMARY: dict[str, tuple[type, ...]] = {
    "chain_iptm": (list,), "chain_pair_iptm": (list,), "chain_pair_pae_min": (list,), "chain_ptm": (list,),
    "fraction_disordered": (float, type(None)), "has_clash": (float,), "iptm": (float, type(None)),
    "ptm": (float, type(None)), "ranking_score": (float,),
}  # fmt: skip


def chimerax(text: str) -> NDArray[np.float64]:
    """`alphafold pae file`: the database's list of one object, or an object with `pae` or `predicted_aligned_error`."""
    read = json.loads(text)
    one = read[0] if isinstance(read, list) else read
    return np.array(one["pae" if "pae" in one else "predicted_aligned_error"], np.float64)


def pae_viewer(text: str, residues: int) -> tuple[NDArray[np.float64], float]:
    """PAE Viewer: the same two forms; its maximum, where the file names one; as many rows as the structure has."""
    read = json.loads(text)
    one: dict[str, Any] = read[0] if isinstance(read, list) else read
    errors = chimerax(text)
    assert errors.shape == (residues, residues) and (errors >= 0).all()
    most = one.get("max_predicted_aligned_error", one.get("max_pae"))
    return errors, most


def alphafold_database(text: str) -> dict[str, Any]:
    """The database's own file: a list of exactly one object of exactly two values."""
    (one,) = json.loads(text)
    assert list(one) == ["predicted_aligned_error", "max_predicted_aligned_error"]
    return one


def test_aligned_errors() -> None:
    predicted = prediction("MKVL")
    assert predicted.pae is not None
    texts = "".join(database_json(predicted)), "".join(scores_json(predicted, True))
    for text, most in zip(texts, (31.75, float(predicted.pae.max())), strict=True):
        errors, said = pae_viewer(text, 4)
        np.testing.assert_allclose(errors, predicted.pae, atol=0.0051)
        np.testing.assert_array_equal(chimerax(text), errors)
        assert said == pytest.approx(most)
    assert alphafold_database(texts[0])["max_predicted_aligned_error"] == 31.75


@pytest.mark.parametrize("ptm", [True, False])
def test_summary_has_alphafold_3s_keys(ptm: bool) -> None:
    predicted = prediction("MKVL", ptm=ptm)
    summary = json.loads(summary_confidences_json(predicted, "ptm"))
    assert summary.keys() == SUMMARY.keys()
    assert [key for key, kinds in SUMMARY.items() if not isinstance(summary[key], kinds)] == []
    assert summary["chain_ptm"] == [summary["ptm"]] and len(summary["chain_pair_pae_min"]) == 1
    expected = predicted.ptm if ptm else predicted.mean_plddt / 100
    assert summary["ranking_score"] == pytest.approx(expected, abs=1e-4)


def test_ranking_scores_keep_the_order_and_tell_predictions_apart() -> None:
    made = [prediction("MKVL", seed) for seed in (3, 4)]
    made += [replace(one, model="model_2_ptm", plddt=one.plddt / 2) for one in made]
    ranked: list[Prediction] = sorted(made, key=lambda one: ranking_score(one, "plddt"), reverse=True)
    rows = list(csv.DictReader(io.StringIO(ranking_scores_csv(ranked, "plddt"))))
    assert list(rows[0])[:3] == ["seed", "sample", "ranking_score"]
    scores = [float(row["ranking_score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    assert [int(row["seed"]) for row in rows] == [one.seed for one in ranked]
    assert {(row["seed"], row["sample"]) for row in rows} == {(s, k) for s in "34" for k in "01"}


def test_the_summary_of_a_complex_has_no_null_but_disorder() -> None:
    """AlphaFold 3's output.md: a chain's ipTM is the mean of its pairs', the diagonal of a pair's ipTM is pTM."""
    predicted = complex_prediction()
    text = summary_confidences_json(predicted, "multimer")
    summary, found = json.loads(text), predicted.interfaces
    assert found is not None and predicted.ptm is not None and predicted.iptm is not None
    assert text.count("null") == 1 and summary["fraction_disordered"] is None
    assert [key for key, kinds in SUMMARY.items() if not isinstance(summary[key], kinds)] == []
    pairs = np.array(summary["chain_pair_iptm"])
    np.testing.assert_allclose(pairs, found.pair_ptm, atol=5.1e-5)
    assert summary["chain_ptm"] == np.diagonal(pairs).tolist()
    assert summary["chain_iptm"] == pytest.approx(
        [(pairs[0, 1] + pairs[0, 2]) / 2, *summary["chain_iptm"][1:]], abs=1e-4
    )
    assert summary["chain_pair_pae_min"][0][1] == pytest.approx(predicted.pae[:19, 19:39].min(), abs=0.0051)
    assert summary["ranking_score"] == pytest.approx(0.8 * predicted.iptm + 0.2 * predicted.ptm, abs=1e-4)


@pytest.mark.parametrize("rank_by", ["multimer", "iptm"])
def test_what_a_model_does_not_predict_is_not_ranked_by(rank_by: str) -> None:
    single, without = prediction("MKVL"), prediction("MKVL", ptm=False)
    assert ranking_score(single, rank_by) == single.ptm
    assert ranking_score(without, rank_by) == without.mean_plddt / 100


def test_complexes_are_ranked_by_their_interfaces_and_chains_by_plddt() -> None:
    predicted, single = complex_prediction(), prediction("MKVL")
    assert ranking_score(predicted, "auto") == ranking_score(predicted, "multimer")
    assert ranking_score(single, "auto") == single.mean_plddt / 100
