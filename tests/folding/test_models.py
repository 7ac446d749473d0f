"""Weights in any of the file layouts make the same model."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.data.query import Query
from foldcli.errors import FoldcliError, InputError, WeightsError
from foldcli.folding.models import load_model, resolve
from foldcli.weights.files import write_safetensors
from tests.weights.test_openfold import checkpoint


def test_every_layout_makes_the_same_model(tmp_path: Path) -> None:
    (untrained,) = resolve(["tiny"], "untrained", [])
    published, openfold = checkpoint(untrained.config.model, 2)
    np.savez(tmp_path / "tiny.npz", **published)
    torch.save(openfold, tmp_path / "tiny.pt")
    torch.save({"state_dict": openfold}, tmp_path / "tiny.ckpt")

    def load(name: str) -> dict[str, torch.Tensor]:
        (source,) = resolve(["tiny"], str(tmp_path / name), [])
        return load_model(source, torch.device("cpu"), torch.float32).state_dict()

    expected = load("tiny.npz")
    write_safetensors(tmp_path / "tiny.safetensors", expected, {})
    write_safetensors(tmp_path / "half.safetensors", {key: value.half() for key, value in expected.items()}, {})
    for name in ("tiny.pt", "tiny.ckpt", "tiny.safetensors"):
        found = load(name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert all(value.dtype == torch.float32 for value in load("half.safetensors").values())

    write_safetensors(tmp_path / "less.safetensors", dict(list(expected.items())[1:]), {})
    with pytest.raises(WeightsError, match=r"less.safetensors: not the parameters of tiny: 1 differ"):
        load("less.safetensors")


def test_the_folder_of_a_training_run_stands_for_its_best_parameters(tmp_path: Path) -> None:
    (untrained,) = resolve(["tiny"], "untrained", [])
    notes = {"model": json.dumps(dataclasses.asdict(untrained.config.model))}
    write_safetensors(tmp_path / "last.safetensors", {"a": torch.zeros(1)}, notes)
    assert resolve([], str(tmp_path))[0].path == tmp_path / "last.safetensors"
    write_safetensors(tmp_path / "best.safetensors", {"a": torch.zeros(1)}, notes)
    (source,) = resolve([], str(tmp_path))
    assert (source.path, source.name) == (tmp_path / "best.safetensors", "tiny")


BAD_DESCRIPTIONS = {
    "not json": "metadata 'model' is no description of a model",
    "[1, 2]": "metadata 'model' is no description of a model",
    "{}": "metadata 'model' is no description of a model",
    '{"name": "m", "evoformer": 3}': "'model.evoformer' is 3, expected",
    '{"name": "../m"}': "metadata 'model' is no description of a model",
    '{"name": "m", "c_z": "${nowhere}"}': "'model.c_z' is '${nowhere}', expected int",
}


@pytest.mark.parametrize("described", BAD_DESCRIPTIONS)
def test_a_file_that_describes_no_model_is_named(described: str, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)}, {"model": described})
    with pytest.raises(FoldcliError) as error:
        resolve([], str(tmp_path / "a.safetensors"))
    assert BAD_DESCRIPTIONS[described] in str(error.value)


def test_models_that_the_option_takes_are_listed() -> None:
    with pytest.raises(InputError, match=r"model_9: no such preset; there is foldcli-mini, model_1, .*mini, tiny"):
        resolve(["model_9"], None)
    with pytest.raises(InputError, match="--model foldcli-mini: has its own parameters"):
        resolve(["foldcli-mini", "model_1"], None)


def test_complexes_are_folded_by_models_of_complexes() -> None:
    complex_, chain = Query("a", "a", "MKVLA", "here", chain_lengths=(3, 2)), Query("b", "b", "MKV", "here")
    names = [source.name for source in resolve([], "untrained", queries=[chain, complex_])]
    assert names == [f"model_{number}_multimer_v3" for number in range(1, 6)]
    with pytest.raises(WeightsError, match="no parameters for model_1_multimer_v3"):
        resolve([], None, queries=[complex_])
    assert resolve([], None, queries=[chain])[0].name == "foldcli-mini"
