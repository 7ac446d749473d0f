"""Confidence as JSON and CSV, in the formats of ColabFold, of the AlphaFold Database and of AlphaFold 3."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import FoldcliError
from foldcli.protein.structure import Prediction


def confidence_json(prediction: Prediction) -> tuple[str, str]:
    """Two files of numbers rounded to two decimals; the second is empty for models that predict no aligned error.

    First ColabFold's scores: `plddt`, and for models that predict it `max_pae` (the largest in `pae`, not rounded),
    `pae` and `ptm`. Then the AlphaFold Database's PAE, which has whole angstrom there: row i is aligned on, column j
    scored, and the largest value that PAE can take. Errors: FoldcliError if a score is not finite.
    """
    plddt = _rounded("pLDDT", prediction.plddt).tolist()
    scores = [f'"plddt": {json.dumps(plddt)}']
    database = ""
    if prediction.pae is not None:
        pae = _map_json(_rounded("PAE", prediction.pae))
        scores += [f'"max_pae": {float(prediction.pae.max())}', f'"pae": {pae}']
        database = f'[{{"predicted_aligned_error": {pae}, "max_predicted_aligned_error": {prediction.max_pae}}}]'
    if prediction.ptm is not None:
        scores.append(f'"ptm": {_rounded("pTM", np.array(prediction.ptm))}')
    return f"{{{', '.join(scores)}}}", database


def ranking_score(prediction: Prediction, rank_by: str) -> float:
    """What predictions are ranked by, 0 to 1: pTM where `rank_by` is ptm and the model predicts it, else pLDDT."""
    ptm = prediction.ptm if rank_by == "ptm" else None
    return prediction.mean_plddt / 100 if ptm is None else ptm


def summary_confidences_json(prediction: Prediction, rank_by: str) -> str:
    """AlphaFold 3's summary of one chain: what needs two chains is null, and so is the share of disorder.

    Its clashes are those between chains, of which there are none.
    """
    ptm = None if prediction.ptm is None else round(prediction.ptm, 4)
    least = None if prediction.pae is None else round(float(prediction.pae.min()), 2)
    summary = {
        "chain_iptm": [None], "chain_pair_iptm": [[ptm]], "chain_pair_pae_min": [[least]], "chain_ptm": [ptm],
        "fraction_disordered": None, "has_clash": 0.0, "iptm": None, "ptm": ptm,
        "ranking_score": round(ranking_score(prediction, rank_by), 4),
    }  # fmt: skip
    return json.dumps(summary, indent=1, allow_nan=False) + "\n"


def ranking_scores_csv(ranked: Sequence[Prediction], rank_by: str) -> str:
    """AlphaFold 3's table of a job's predictions, best first; `sample` counts the predictions of a seed, by model."""
    models = sorted({prediction.model for prediction in ranked})
    rows = [f"{one.seed},{models.index(one.model)},{ranking_score(one, rank_by):.6f},{one.model}\n" for one in ranked]
    return "".join(["seed,sample,ranking_score,model\n", *rows])


def _rounded(name: str, values: NDArray[Any]) -> Any:
    if not np.isfinite(values).all():
        first = [int(k) + 1 for k in np.argwhere(~np.isfinite(values))[0]]
        place = f" at residue {first[-1]}" if first else ""
        raise FoldcliError(f"{name}{place} is not finite")
    return np.around(values.astype(np.float64), 2)


def _map_json(rounded: NDArray[np.float64]) -> str:
    """[i, j], from 0 to at most a few hundred, as JSON: each hundredth is formatted once, a tenth of json's time."""
    hundredths = np.rint(rounded * 100).astype(np.int64)
    texts = np.array([repr(k / 100) for k in range(hundredths.max() + 1)], dtype=object)
    return "[" + ", ".join(f"[{', '.join(texts[row].tolist())}]" for row in hundredths) + "]"
