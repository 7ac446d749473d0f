"""Confidence as JSON and CSV, in the formats of ColabFold, of the AlphaFold Database and of AlphaFold 3."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import FoldcliError
from foldcli.protein.structure import Interfaces, Prediction


def confidence_json(prediction: Prediction) -> tuple[str, str]:
    """Two files of numbers rounded to two decimals; the second is empty for models that predict no aligned error.

    First ColabFold's scores: `plddt`, and for models that predict it `max_pae` (the largest in `pae`, not rounded),
    `pae` and `ptm`; of a complex `iptm`, and values by chain and by pair of chains. Then the AlphaFold Database's PAE,
    which has whole angstrom there: row i is aligned on, column j scored, and the largest value that PAE can take.
    Errors: FoldcliError if a score is not finite.
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
    if prediction.iptm is not None:
        scores.append(f'"iptm": {_rounded("ipTM", np.array(prediction.iptm))}')
    if prediction.interfaces is not None:
        between = _interface_scores(prediction.interfaces, [chain.name for chain in prediction.structure.chains])
        scores += [f'"{name}": {json.dumps(values)}' for name, values in between.items()]
    return f"{{{', '.join(scores)}}}", database


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
