"""The model reproduces outputs of DeepMind's code, from their parameters and features."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.bench.peers.alphafold_arrays import LOGITS, differences, same
from foldcli.compose import model_config, presets
from foldcli.errors import WeightsError
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import ChainFeatures
from foldcli.weights.alphafold import from_alphafold, published_shapes
from foldcli.weights.seeded import seeded_parameters
from tests.golden.reference_run import ReferenceRun

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    ("name", "outputs"), [("ptm", 8), ("templates", 8), ("complex", 10), ("complex_templates", 10)]
)
def test_reproduces_alphafold(name: str, outputs: int) -> None:
    run = ReferenceRun(GOLDEN / name)
    found = differences(run.fold(run.model()), run.outputs(), run.config(), run.chain_lengths)
    assert len(found) == (10 if run.chain_lengths else 8)
    assert same(found), found


def test_chains_are_told_apart() -> None:
    """A complex whose chains are all numbered as one, or whose copies are numbered as other sequences, is another."""
    run = ReferenceRun(GOLDEN / "complex_templates")
    model, features = run.model(), run.passes()[0]
    chains = features.chains
    assert chains is not None
    one, expected = torch.ones_like(chains.asym), model(features).distogram
    others = ChainFeatures(one, one, one), ChainFeatures(chains.asym, chains.asym, one)
    for other in others:
        found = model(dataclasses.replace(features, chains=other)).distogram
        assert (found - expected).abs().max() > 0.01 * expected.abs().max()


def test_a_wrong_model_is_noticed() -> None:
    run = ReferenceRun(GOLDEN / "ptm")
    model = run.model()
    model.trunk.evoformer.blocks[1].outgoing.center.scale.data *= 1.001
    found = differences(run.fold(model), run.outputs(), run.config())
    assert found["distogram/logits"] > LOGITS


MULTIMER = [name for name in presets() if name.endswith("_multimer_v3")]


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("model_") and name not in MULTIMER[1:]])
def test_every_published_key_has_its_place(name: str) -> None:
    """The golden runs list DeepMind's keys; a preset differs in depth, templates and the head for aligned errors."""
    config = model_config(name)
    kind = "complex" if config.complexes else "templates" if config.template else "ptm"
    golden = ReferenceRun(GOLDEN / kind).about["parameter_shapes"]
    depth = {"evoformer_iteration": 48, "extra_msa_stack": 4}
    expected = {}
    for key, shape in golden.items():
        blocks = next((n for scope, n in depth.items() if f"/{scope}/" in key), None)
        expected[key] = tuple(shape) if blocks is None else (blocks, *shape[1:])
        if "predicted_aligned_error" in key and not config.heads.pae:
            del expected[key]
    assert published_shapes(config) == expected
    with torch.device("meta"):
        ours = AlphaFold(config).state_dict()
    zeros = {
        key: np.lib.stride_tricks.as_strided(np.float32(0), shape, [0] * len(shape)) for key, shape in expected.items()
    }
    mapped = from_alphafold(zeros, config, "zeros")
    assert {key: value.shape for key, value in mapped.items()} == {key: value.shape for key, value in ours.items()}


def test_the_multimer_presets_have_the_same_parameters() -> None:
    first, *others = (model_config(name) for name in MULTIMER)
    assert len(others) == 4
    assert all(dataclasses.replace(other, name=first.name, msa=first.msa) == first for other in others)


def test_parameters_of_another_preset_are_refused() -> None:
    config = model_config("tiny")
    params = seeded_parameters(published_shapes(config))
    without_pae = dataclasses.replace(config, heads=dataclasses.replace(config.heads, pae=False))
    with pytest.raises(WeightsError, match=r"file.npz: not the parameters of tiny: 0 keys missing, 2 not used, 0 of"):
        from_alphafold(params, without_pae, "file.npz")
    deeper = dataclasses.replace(config, evoformer=dataclasses.replace(config.evoformer, blocks=3))
    with pytest.raises(WeightsError, match=r"0 keys missing, 0 not used, \d+ of another shape \(the first: alphafold/"):
        from_alphafold(params, deeper, "file.npz")


def test_batched_equals_single() -> None:
    """A batch of two proteins gives what each gives alone."""
    run = ReferenceRun(GOLDEN / "templates")
    model, features = run.model(), run.passes()
    with torch.inference_mode():
        alone = [model(f).positions for f in features[:2]]
        together = model(_stack(features[0], features[1])).positions
    assert torch.allclose(together, torch.stack(alone), atol=2e-3)


def _stack(a: object, b: object) -> object:
    values = {}
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if x is not None:
            values[field.name] = torch.stack([x, y]) if isinstance(x, torch.Tensor) else _stack(x, y)
    return type(a)(**values)
