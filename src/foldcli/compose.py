"""Hydra at the door: named configuration and overrides in, one frozen dataclass out."""

from collections.abc import Sequence
from typing import Any

from foldcli.config import ModelConfig, build
from foldcli.errors import InputError


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
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error


def model_config(name: str, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model preset `name`, an entry of conf/model/."""
    values = compose(f"model/{name}", overrides)
    return build(ModelConfig, values.get("model", values))
