"""A model that predicts NaN says what is left to do in the precision that it ran in."""

from types import SimpleNamespace

import pytest
import torch

from foldcli.data.query import Query
from foldcli.errors import FoldcliError
from foldcli.folding.predict import require_finite


@pytest.mark.parametrize(
    ("precision", "way_out"),
    [
        (torch.bfloat16, "fold again with --precision fp32"),
        (torch.float32, "check the parameters with `foldcli"),
    ],
)
def test_nan_is_named_with_a_way_out(precision: torch.dtype, way_out: str) -> None:
    query, good = Query("a", "", "MK", "x"), torch.zeros(1, 2)
    require_finite(SimpleNamespace(positions=good, lddt=good), query, precision)  # type: ignore[arg-type]
    with pytest.raises(FoldcliError, match=f"a: what the model predicts is not finite; {way_out}"):
        require_finite(SimpleNamespace(positions=good, lddt=good / 0), query, precision)  # type: ignore[arg-type]
