"""Confidence as JSON, in the formats of ColabFold and of the AlphaFold Database."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import FoldcliError
from foldcli.protein.structure import Prediction


def scores_json(prediction: Prediction) -> str:
    """ColabFold's scores: `plddt`, and for models that predict it `max_pae` (the largest in `pae`), `pae` and `ptm`.

    Rounded as there: two decimals, except `max_pae`. Errors: FoldcliError if a score is not finite.
    """
    scores: dict[str, Any] = {"plddt": _rounded("pLDDT", prediction.plddt)}
    if prediction.pae is not None:
        scores["max_pae"] = float(prediction.pae.max())
        scores["pae"] = _rounded("PAE", prediction.pae)
    if prediction.ptm is not None:
        scores["ptm"] = _rounded("pTM", np.array(prediction.ptm))
    return json.dumps(scores, allow_nan=False)


def pae_json(prediction: Prediction) -> str:
    """The AlphaFold Database's PAE: row i is aligned on, column j scored, and the largest value that PAE can take.

    Two decimals, where the database has whole angstrom. Errors: FoldcliError without a PAE, or if it is not finite.
    """
    if prediction.pae is None or prediction.max_pae is None:
        raise FoldcliError(f"{prediction.model} predicts no aligned error; use one of model_1_ptm to model_5_ptm")
    pae = _rounded("PAE", prediction.pae)
    return json.dumps([{"predicted_aligned_error": pae, "max_predicted_aligned_error": prediction.max_pae}])


def _rounded(name: str, values: NDArray[Any]) -> Any:
    if not np.isfinite(values).all():
        first = [int(k) + 1 for k in np.argwhere(~np.isfinite(values))[0]]
        place = f" at residue {first[-1]}" if first else ""
        raise FoldcliError(f"{name}{place} is not finite")
    return np.around(values.astype(np.float64), 2).tolist()
