"""Hydra at the door: named configuration and overrides in, one frozen dataclass out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from foldcli.config import FoldConfig, ModelConfig, TrainConfig, build
from foldcli.errors import InputError


def presets() -> list[str]:
    """The names of the models in conf/model/; `alphafold` is what they share, and none itself."""
    return [name for name in _names("model") if name != "alphafold"]


def recipes() -> list[str]:
    """The names of the ways to train in conf/train/."""
    return _names("train")


def _names(group: str) -> list[str]:
    names = (entry.name for entry in files("foldcli.conf").joinpath(group).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The named configuration of foldcli.conf with `key=value` overrides, as a plain dictionary.

    Keys that do not exist are let in: `config.build` knows all of them, and names what there is.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    forced = [override if override.startswith("model=") else f"++{override}" for override in overrides]
    try:
        with initialize_config_module("foldcli.conf", version_base=None):
            return OmegaConf.to_container(hydra_compose(name, forced), resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        reason = " ".join(str(error).split()).replace("++", "").partition(" See http")[0]
        raise InputError(f"configuration: {reason}") from error


def model_config(name: str, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model preset `name`, an entry of conf/model/."""
    _require_preset(name)
    return build(ModelConfig, compose(f"model/{name}", overrides)["model"])


def fold_config(model: str | Mapping[str, Any], overrides: Sequence[str] = ()) -> FoldConfig:
    """The settings of `foldcli fold` with a preset or a described model; InputError names what cannot be."""
    preset = model if isinstance(model, str) else presets()[0]
    _require_preset(preset)
    for override in overrides:
        _require_setting(override, "num_recycle=1")
        if override.startswith("model="):
            raise InputError(f"configuration: '{override}': choose the preset with --{override.replace('=', ' ')}")
    settings = compose("fold", [f"model={preset}", *overrides])
    if not isinstance(model, str):
        settings["model"] = _changed(model, overrides)
    config = build(FoldConfig, settings)
    _require_sizes(config.model)
    return config


def _changed(model: Mapping[str, Any], overrides: Sequence[str]) -> Any:
    """A described model with those overrides that are its own."""
    from omegaconf import OmegaConf

    own = [override for override in overrides if override.startswith("model.")]
    return OmegaConf.to_container(OmegaConf.merge({"model": dict(model)}, OmegaConf.from_dotlist(own)))["model"]  # type: ignore[index,call-overload]


def train_config(recipe: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings of `foldcli train` by the name of a recipe in conf/train/; InputError as for `fold_config`."""
    if recipe not in recipes():
        raise InputError(f"--config {recipe}: no such recipe; there is {', '.join(recipes())}")
    for override in overrides:
        _require_setting(override, "steps=1000")
    config = build(TrainConfig, compose(f"train/{recipe}", overrides))
    _require_sizes(config.model)
    return config


def _require_setting(override: str, example: str) -> None:
    if not override.partition("=")[1]:
        raise InputError(f"configuration: '{override}' is no setting; expected KEY=VALUE, such as {example}")


def _require_sizes(model: ModelConfig) -> None:
    for key, value in _sizes(asdict(model), "model"):
        if value < 1 and key != "model.extra_msa.blocks":
            raise InputError(f"configuration: '{key}' is {value}, expected 1 or more")


def _sizes(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, int]]:
    """Every whole number of a configuration, all of them counts, by its key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{path}.{key}")
        elif type(value) is int:
            yield f"{path}.{key}", value


def _require_preset(name: str) -> None:
    if name not in presets():
        raise InputError(f"--model {name}: no such preset; there is {', '.join(presets())}")
