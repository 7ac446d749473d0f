import json
from dataclasses import replace

import numpy as np
import pytest

from foldcli.errors import FoldcliError
from foldcli.protein.structure import Prediction
from foldcli.report.aligned_errors import database_json
from foldcli.report.scores import scores_json
from tests.report.complexes import complex_prediction
from tests.report.samples import prediction


def scores_of(predicted: Prediction, with_errors: bool = True) -> str:
    return "".join(scores_json(predicted, with_errors))


def test_scores_have_colabfolds_keys_and_rounding() -> None:
    predicted = replace(
        prediction("MK"),
        plddt=np.array([91.236, 7], np.float32),
        pae=np.array([[0.25, 12.346], [30.004, 0.1]], np.float32),
        ptm=0.123456,
    )
    scores = json.loads(scores_of(predicted))
    assert list(scores) == ["plddt", "max_pae", "pae", "ptm"]
    assert scores["plddt"] == [91.24, 7.0]
    assert scores["pae"] == [[0.25, 12.35], [30.0, 0.1]]
    assert scores["max_pae"] == float(np.float32(30.004))
    assert scores["ptm"] == 0.12


def test_every_number_is_written_as_json_writes_it() -> None:
    pae = np.append(np.arange(0, 32, 0.005), [0, 0, 100.01, 31.995]).astype(np.float32)[:6400].reshape(80, 80)
    predicted = replace(prediction("M" * 80), pae=pae)
    rounded = np.around(pae.astype(np.float64), 2).tolist()
    scores, errors = scores_of(predicted), "".join(database_json(predicted))
    assert errors == json.dumps([{"predicted_aligned_error": rounded, "max_predicted_aligned_error": 31.75}])
    assert scores == json.dumps(json.loads(scores)) and json.loads(scores)["pae"] == rounded


def test_models_without_pae_have_plddt_alone() -> None:
    predicted = prediction("MK", ptm=False)
    assert list(json.loads(scores_of(predicted))) == ["plddt"]


def test_scores_without_the_errors_have_their_largest() -> None:
    predicted = prediction("MKV")
    whole, bare = (json.loads(scores_of(predicted, with_errors)) for with_errors in (True, False))
    del whole["pae"]
    assert bare == whole and list(bare) == ["plddt", "max_pae", "ptm"]


def test_pae_has_the_databases_form() -> None:
    predicted = replace(prediction("MK"), pae=np.array([[0.25, 12.346], [30.004, 0.1]], np.float32))
    assert json.loads("".join(database_json(predicted))) == [
        {"predicted_aligned_error": [[0.25, 12.35], [30.0, 0.1]], "max_predicted_aligned_error": 31.75}
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(bad: float) -> None:
    predicted = prediction("MKV")
    with pytest.raises(FoldcliError, match="pLDDT at residue 2 is not finite"):
        scores_of(replace(predicted, plddt=np.array([1, bad, 3], np.float32)))
    with pytest.raises(FoldcliError, match="PAE at residue 1 is not finite"):
        scores_of(replace(predicted, pae=np.full((3, 3), bad, np.float32)))
    with pytest.raises(FoldcliError, match="pTM is not finite"):
        scores_of(replace(predicted, ptm=bad))


def test_a_complex_has_colabfolds_keys_by_chain_and_by_pair() -> None:
    predicted = complex_prediction()
    scores, found = json.loads(scores_of(predicted)), predicted.interfaces
    assert found is not None
    assert list(scores)[3:] == ["ptm", "iptm", "pairwise_iptm", "per_chain_ptm", "ipsae", "pdockq", "pdockq2"]
    assert scores["iptm"] == pytest.approx(predicted.iptm, abs=0.0051)
    assert scores["per_chain_ptm"] == pytest.approx(dict(zip("ABC", found.ptm, strict=True)), abs=0.00051)
    one_way, both = ["A-B", "A-C", "B-C"], ["A-B", "A-C", "B-A", "B-C", "C-A", "C-B"]
    tables = {"pairwise_iptm": (found.pair_ptm, one_way), "pdockq": (found.pdockq, one_way)}
    tables |= {"ipsae": (found.ipsae, both), "pdockq2": (found.pdockq2, both)}
    for name, (values, keys) in tables.items():
        expected = {key: values["ABC".index(key[0]), "ABC".index(key[2])] for key in keys}
        assert scores[name] == pytest.approx(expected, abs=0.00051), name
    assert scores["ipsae"]["A-B"] != scores["ipsae"]["B-A"]
