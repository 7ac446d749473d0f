"""The settings of a command: Hydra's named configuration, then typed values, then KEY=VALUE texts, as one dataclass.

A setting has one route. conf/*.yaml names the default; a flag or a keyword argument of the Python interface is a typed
value that replaces it as it is; only a text KEY=VALUE is parsed, by Hydra, and wins over both. `config.build` checks
the types and fills the frozen dataclass, which alone is passed on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from foldcli.config import FoldConfig, ModelConfig, TrainConfig, build
from foldcli.errors import InputError

NONE: Mapping[str, Any] = MappingProxyType({})
# What several of conf/model/ have in common, and no models themselves.
SHARED = ("alphafold", "multimer")
# Settings of `foldcli fold` whose defaults are the model's own.
OF_MODEL = ("num_recycle", "recycle_early_stop_tolerance")


def presets() -> list[str]:
    """The models that conf/model/ describes."""
    return [name for name in _names("model") if name not in SHARED]


def recipes() -> list[str]:
    """The training recipes in conf/train/."""
    return _names("train")


def _names(group: str) -> list[str]:
    names = (entry.name for entry in files("foldcli.conf").joinpath(group).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def compose(name: str, overrides: Sequence[str] = (), typed: Mapping[str, Any] = NONE) -> dict[str, Any]:
    """The named configuration of foldcli.conf as nested dictionaries.

    overrides: KEY=VALUE texts; typed: values of top-level keys, which an override of the same key replaces. Unknown
    keys are kept: `config.build` refuses them and says which there are. InputError for a text that Hydra cannot parse.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # ++ lets an override also add a key; keys that are no settings are refused later, as said above.
    forced = [override if override.startswith("model=") else f"++{override}" for override in overrides]
    try:
        with initialize_config_module("foldcli.conf", version_base=None):
            composed: Any = OmegaConf.to_container(hydra_compose(name, forced), resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        reason = " ".join(str(error).split()).replace("++", "").partition(" See http")[0]
        raise InputError(f"configuration: {reason}") from error
    overridden = {override.partition("=")[0] for override in overrides}
    return composed | {key: value for key, value in typed.items() if key not in overridden}


def model_config(name: str, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model preset `name` of conf/model/."""
    _require_preset(name)
    return build(ModelConfig, compose(f"model/{name}", overrides)["model"])


def fold_config(
    model: str | Mapping[str, Any], overrides: Sequence[str] = (), typed: Mapping[str, Any] = NONE
) -> FoldConfig:
    """The settings of `foldcli fold`; InputError names the one that is wrong.

    model: a preset's name, or a model's configuration as a parameter file describes it; overrides, typed: as in
    `compose`.
    """
    preset = model if isinstance(model, str) else presets()[0]
    _require_preset(preset)
    for override in overrides:
        _require_setting(override, "num_recycle=1")
    for setting in (*overrides, *(f"{key}={value}" for key, value in typed.items())):
        if setting.startswith("model="):
            raise InputError(f"configuration: '{setting}': choose the preset with --{setting.replace('=', ' ')}")
    if not isinstance(model, str):
        typed = {key: model[key] for key in OF_MODEL if key in model} | dict(typed)
    settings = compose("fold", [f"model={preset}", *overrides], typed)
    if not isinstance(model, str):
        settings["model"] = _changed(model, overrides)
    config = build(FoldConfig, settings)
    _require_sizes(config.model)
    return config


def _changed(model: Mapping[str, Any], overrides: Sequence[str]) -> Any:
    """A described model after those overrides that begin with `model.`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own = [override for override in overrides if override.startswith("model.")]
    try:
        changed: Any = OmegaConf.to_container(OmegaConf.merge({"model": dict(model)}, OmegaConf.from_dotlist(own)))
    except (OmegaConfBaseException, ValueError) as error:
        raise InputError(f"configuration: {' '.join(str(error).split())}") from error
    return changed["model"]


def train_config(recipe: str, overrides: Sequence[str] = (), typed: Mapping[str, Any] = NONE) -> TrainConfig:
    """The settings of `foldcli train` with a recipe of conf/train/; InputError and the rest as for `fold_config`."""
    if recipe not in recipes():
        raise InputError(f"--config {recipe}: no such recipe; there is {', '.join(recipes())}")
    for override in overrides:
        _require_setting(override, "steps=1000")
    config = build(TrainConfig, compose(f"train/{recipe}", overrides, typed))
    _require_sizes(config.model)
    if config.model.complexes:
        raise InputError(f"{config.model.name} is of complexes: none can be trained yet; take a model of single chains")
    return config


def _require_setting(override: str, example: str) -> None:
    if not override.partition("=")[1]:
        raise InputError(f"configuration: '{override}' is no setting; expected KEY=VALUE, such as {example}")


def _require_sizes(model: ModelConfig) -> None:
    for key, value in _sizes(asdict(model), "model"):
        if value < 1 and key != "model.extra_msa.blocks":
            raise InputError(f"configuration: '{key}' is {value}, expected 1 or more")


def _sizes(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, int]]:
    """The integers of a model's configuration, all of them widths or counts, by their keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{path}.{key}")
        elif type(value) is int:
            yield f"{path}.{key}", value


def _require_preset(name: str) -> None:
    if name not in presets():
        raise InputError(f"--model {name}: no such preset; there is {', '.join(presets())}")
