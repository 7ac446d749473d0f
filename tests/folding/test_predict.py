"""The order of what a prediction does, pass by pass."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from foldcli.compose import fold_config
from foldcli.data.features.featurize import featurize
from foldcli.data.query import Query
from foldcli.folding import predict
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.confidence import chain_tm_scores, error_bins, expected_aligned_error, predicted_tm_score
from foldcli.model.features import Features, Recycled
from foldcli.protein import interfaces


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


class Scripted(AlphaFold):
    """A model whose passes are as sure as they are told to be, from 0 to 49."""

    script: Iterator[int]

    def forward(self, features: Features, previous: Recycled | None = None) -> Output:
        output = super().forward(features, previous)
        return replace(output, lddt=100 * torch.eye(50)[next(self.script)].expand(output.lddt.shape))


def test_surest_pass_is_kept_and_two_falls_end_recycling() -> None:
    sizes = ["model.structure.layers=1", "model.evoformer.blocks=1", "model.surest_pass=true"]
    config = fold_config("tiny", [*sizes, "save_recycles=true"])
    model, query = Scripted(config.model).eval().requires_grad_(False), Query("a", "a", "MKVLA", "here")
    model.script = iter([30, 35, 33, 31, 49])
    passes = featurize(query, config.model.msa, 0, 5)
    prediction = predict.predict(model, query, passes, config, torch.float32, 0, lambda *told: None)
    assert [one.mean_plddt for one in prediction.passes] == pytest.approx([61, 71, 67, 63], abs=1e-3)
    assert prediction.recycles == 1
    assert prediction.mean_plddt == pytest.approx(71, abs=1e-3)
    assert (prediction.structure.positions == prediction.passes[1].structure.positions).all()


def test_confidence_of_a_complex_does_not_depend_on_the_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fold_config("tiny", ["model.structure.layers=1", "model.evoformer.blocks=1"])
    model = AlphaFold(config.model).eval().requires_grad_(False)
    query, made = Query("a", "a", "MKVLAAGIV", "here", chain_lengths=(5, 4)), []
    for rows in (64, 2):
        monkeypatch.setattr(predict, "ROWS", rows)
        monkeypatch.setattr(interfaces, "ROWS", rows)
        passes = featurize(query, config.model.msa, 0, 1)
        made.append(predict.predict(model, query, passes, config, torch.float32, 0, lambda *told: None))
    whole, parts = made
    assert whole.structure.residue_index.tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 4]
    assert whole.iptm == pytest.approx(parts.iptm, abs=1e-6) and 0 < whole.iptm < 1
    for name, values in vars(whole.interfaces).items():
        np.testing.assert_allclose(values, getattr(parts.interfaces, name), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("lengths", [(), (5, 4)])
def test_what_is_reduced_row_by_row_is_what_all_logits_give(lengths: tuple[int, ...]) -> None:
    config = fold_config("tiny", ["model.structure.layers=1", "model.evoformer.blocks=1"])
    model, last = AlphaFold(config.model).eval().requires_grad_(False), config.model.heads.pae_last_break
    query = Query("a", "a", "MKVLAAGIV", "here", chain_lengths=lengths)
    passes = list(featurize(query, config.model.msa, 0, 1))
    prediction = predict.predict(model, query, iter(passes), config, torch.float32, 0, lambda *told: None)
    logits = model(passes[0]).pae
    assert logits is not None and prediction.max_pae == pytest.approx(float(error_bins(64, last, logits)[-1]))
    np.testing.assert_allclose(prediction.pae, expected_aligned_error(logits, last), atol=1e-5)
    assert prediction.ptm == pytest.approx(float(predicted_tm_score(logits, last, torch.ones(9))), abs=1e-6)
    if lengths:
        scores = chain_tm_scores(logits, last, lengths).numpy()
        assert prediction.iptm == pytest.approx(interfaces.iptm(scores[..., 0], prediction.structure), abs=1e-6)
