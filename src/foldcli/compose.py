"""Hydra at the door: named configuration and overrides in, one frozen dataclass out."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from foldcli.config import FoldConfig, ModelConfig, build
from foldcli.errors import InputError


def presets() -> list[str]:
    """The names of the models in conf/model/."""
    folder = files("foldcli.conf").joinpath("model")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The named configuration of foldcli.conf with `key=value` overrides, as a plain dictionary."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("foldcli.conf", version_base=None):
            return OmegaConf.to_container(hydra_compose(name, list(overrides)), resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error


def model_config(name: str, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model preset `name`, an entry of conf/model/."""
    _require(name)
    return build(ModelConfig, compose(f"model/{name}", overrides)["model"])


def fold_config(model: str, overrides: Sequence[str] = ()) -> FoldConfig:
    """The settings of `foldcli fold` with the preset `model`."""
    _require(model)
    return build(FoldConfig, compose("fold", [f"model={model}", *overrides]))


def _require(name: str) -> None:
    if name not in presets():
        raise InputError(f"--model {name}: no such preset; there is {', '.join(presets())}")
