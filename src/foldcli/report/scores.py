"""Confidence as JSON and CSV, in the formats of ColabFold, of the AlphaFold Database and of AlphaFold 3."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.protein.structure import Interfaces, Prediction
from foldcli.report.aligned_errors import require_finite, rows_json


def scores_json(prediction: Prediction, with_errors: bool) -> Iterator[str]:
    """ColabFold's scores in parts, rounded to two decimals.

    They are `plddt`, and for models that predict it `max_pae` (the largest aligned error, not rounded), `pae` if it is
    wanted, and `ptm`; of a complex `iptm`, and values by chain and by pair of chains. FoldcliError: one is not finite.
    """
    yield f'{{"plddt": {json.dumps(_rounded("pLDDT", prediction.plddt).tolist())}'
    if prediction.pae is not None:
        yield f', "max_pae": {float(prediction.pae.max())}'
        if with_errors:
            yield ', "pae": '
            yield from rows_json(prediction.pae)
    if prediction.ptm is not None:
        yield f', "ptm": {_rounded("pTM", np.array(prediction.ptm))}'
    if prediction.iptm is not None:
        yield f', "iptm": {_rounded("ipTM", np.array(prediction.iptm))}'
    if prediction.interfaces is not None:
        between = _interface_scores(prediction.interfaces, [chain.name for chain in prediction.structure.chains])
        yield from (f', "{name}": {json.dumps(values)}' for name, values in between.items())
    yield "}"


def _interface_scores(found: Interfaces, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Values by chain and by pair of chains, with ColabFold's keys: symmetric ones as A-B, others as B-A too."""
    pairs = [(a, b) for a in range(len(names)) for b in range(len(names)) if a != b]

    def by_pair(values: NDArray[np.float64], decimals: int, both: bool) -> dict[str, float]:
        return {f"{names[a]}-{names[b]}": round(float(values[a, b]), decimals) for a, b in pairs if both or a < b}

    return {
        "pairwise_iptm": by_pair(found.pair_ptm, 3, both=False),
        "per_chain_ptm": {name: round(float(value), 3) for name, value in zip(names, found.ptm, strict=True)},
        "ipsae": by_pair(found.ipsae, 6, both=True),
        "pdockq": by_pair(found.pdockq, 4, both=False),
        "pdockq2": by_pair(found.pdockq2, 4, both=True),
    }


def ranking_score(prediction: Prediction, rank_by: str) -> float:
    """What predictions are ranked by, 0 to 1, as `rank_by` says: plddt, ptm, iptm, or multimer (0.8 ipTM + 0.2 pTM).

    auto: multimer for a complex, and else pLDDT. Where a model predicts no ipTM it is pTM, and without that pLDDT.
    """
    ptm, iptm = prediction.ptm, prediction.iptm
    if rank_by == "plddt" or ptm is None or (rank_by == "auto" and iptm is None):
        return prediction.mean_plddt / 100
    if rank_by == "ptm" or iptm is None:
        return ptm
    return iptm if rank_by == "iptm" else 0.8 * iptm + 0.2 * ptm


def summary_confidences_json(prediction: Prediction, rank_by: str) -> str:
    """AlphaFold 3's summary: what needs two chains is null for one, and so is the share of disorder for all.

    Of one chain clashes are not counted. A pair's ipTM, and on the diagonal a chain's pTM, is by the length of the
    whole complex; a chain's ipTM is the mean of its pairs'.
    """
    ptm = None if prediction.ptm is None else round(prediction.ptm, 4)
    least = None if prediction.pae is None else round(float(prediction.pae.min()), 2)
    summary = {
        "chain_iptm": [None], "chain_pair_iptm": [[ptm]], "chain_pair_pae_min": [[least]], "chain_ptm": [ptm],
        "fraction_disordered": None, "has_clash": 0.0, "iptm": None, "ptm": ptm,
        "ranking_score": round(ranking_score(prediction, rank_by), 4),
    }  # fmt: skip
    if (found := prediction.interfaces) is not None and prediction.iptm is not None:
        pairs, own = found.pair_ptm, np.diagonal(found.pair_ptm)
        summary |= {
            "chain_iptm": ((pairs.sum(1) - own) / (len(own) - 1)).round(4).tolist(),
            "chain_pair_iptm": pairs.round(4).tolist(), "chain_pair_pae_min": found.pae_min.round(2).tolist(),
            "chain_ptm": own.round(4).tolist(), "has_clash": float(found.clash), "iptm": round(prediction.iptm, 4),
        }  # fmt: skip
    return json.dumps(summary, indent=1, allow_nan=False) + "\n"


def ranking_scores_csv(ranked: Sequence[Prediction], rank_by: str) -> str:
    """AlphaFold 3's table of a job's predictions, best first; `sample` counts the predictions of a seed, by model."""
    models = sorted({prediction.model for prediction in ranked})
    rows = [f"{one.seed},{models.index(one.model)},{ranking_score(one, rank_by):.6f},{one.model}\n" for one in ranked]
    return "".join(["seed,sample,ranking_score,model\n", *rows])


def _rounded(name: str, values: NDArray[Any]) -> Any:
    require_finite(name, values)
    return np.around(values.astype(np.float64), 2)
