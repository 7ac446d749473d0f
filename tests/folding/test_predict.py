"""The order of what a prediction does, pass by pass."""

from collections.abc import Iterator

import pytest
import torch

from foldcli.compose import fold_config
from foldcli.data.features.featurize import featurize
from foldcli.data.query import Query
from foldcli.folding import predict
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import Features


def test_next_features_are_made_while_a_gpu_runs_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fold_config("tiny", ["model.structure.layers=1", "model.evoformer.blocks=1"])
    model, query = AlphaFold(config.model).eval().requires_grad_(False), Query("a", "a", "MKVLA", "here")
    order, change = [], predict.distance_change

    def passes() -> Iterator[Features]:
        for number, features in enumerate(featurize(query, config.model.msa, 0, 3)):
            order.append(f"features {number}")
            yield features

    def waiting(before: torch.Tensor, after: torch.Tensor) -> float:
        order.append("wait")
        return change(before, after)

    monkeypatch.setattr(predict, "distance_change", waiting)
    prediction = predict.predict(model, query, passes(), config, torch.float32, 0, lambda *told: None)
    assert order == ["features 0", "features 1", "wait", "features 2", "wait", "wait"]
    assert prediction.recycles == 2
