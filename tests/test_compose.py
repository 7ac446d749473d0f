"""Settings: defaults of conf/, typed values in their place, and KEY=VALUE texts before both."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from foldcli.compose import fold_config, train_config
from foldcli.errors import InputError


def test_typed_values_are_taken_as_they_are() -> None:
    typed: dict[str, Any] = {"template": [Path("a, b.cif")], "max_template_date": "2018-04-30", "num_seeds": 2}
    config = fold_config("tiny", typed=typed)
    assert (config.template, config.max_template_date) == (("a, b.cif",), "2018-04-30")
    assert (config.num_seeds, config.recycle_early_stop_tolerance) == (2, 0.0)


def test_passes_are_the_models_own_but_for_what_is_asked_for() -> None:
    config = fold_config("model_5_multimer_v3")
    assert (config.num_recycle, config.recycle_early_stop_tolerance) == (20, 0.5)
    assert config.model.msa.max_extra == 1152 and fold_config("model_1_multimer_v3").model.msa.max_extra == 2048
    assert fold_config("model_1_multimer_v3", ["num_recycle=6"], {"num_recycle": 5}).num_recycle == 6
    assert fold_config("model_1_ptm").num_recycle == 3
    described = {**asdict(config.model), "name": "mine"}
    assert fold_config(described).num_recycle == 20
    assert fold_config(described, typed={"num_recycle": 5}).num_recycle == 5


def test_an_override_wins_over_a_typed_value() -> None:
    assert fold_config("tiny", ["num_seeds=3"], {"num_seeds": 2, "gpus": 2}).num_seeds == 3
    assert train_config("tiny", ["gpus=1"], {"gpus": 2}).gpus == 1


@pytest.mark.parametrize("chosen", ["model=tiny_multimer", "model.complexes=true"])
def test_a_model_of_complexes_is_not_trained(chosen: str) -> None:
    with pytest.raises(InputError, match="is of complexes: none can be trained yet; take a model of single chains"):
        train_config("tiny", [chosen])


REFUSED: dict[str, dict[str, Any]] = {
    "choose the preset with --model mini": {"model": "mini"},
    "'num_seeds' is '2', expected int": {"num_seeds": "2"},
    "'db' is 'a.fasta', expected a list": {"db": "a.fasta"},
    "no key 'nokey'; there is autochunk": {"nokey": 1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_typed_value_that_cannot_be_is_named(message: str) -> None:
    with pytest.raises(InputError, match=message):
        fold_config("tiny", typed=REFUSED[message])
