"""From models' names and --weights to loaded models."""

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foldcli.compose import NONE, fold_config, presets
from foldcli.config import FoldConfig, ModelConfig
from foldcli.data.query import Query
from foldcli.errors import InputError, WeightsError
from foldcli.model.alphafold import FoldingModel
from foldcli.model.layers import DropoutAdd
from foldcli.weights import cache, default
from foldcli.weights.alphafold import from_alphafold, published_shapes
from foldcli.weights.files import (
    TORCH_SUFFIXES,
    file_in,
    read_metadata,
    read_npz,
    read_safetensors,
    read_state_dict,
    sha256,
)
from foldcli.weights.openfold import from_openfold
from foldcli.weights.seeded import seeded_parameters

UNTRAINED = "untrained"
PTM_MODELS = tuple(f"model_{k}_ptm" for k in range(1, 6))
MULTIMER_MODELS = tuple(f"model_{k}_multimer_v3" for k in range(1, 6))


@dataclass(frozen=True)
class Source:
    """One model: its settings and its parameter file; None for untrained parameters, rebuilt from their names."""

    config: FoldConfig
    path: Path | None

    @property
    def name(self) -> str:
        return self.config.model.name

    @property
    def trained(self) -> bool:
        return self.path is not None

    @property
    def remark(self) -> str:
        """What differs from what was asked for; empty where nothing does."""
        config, dropout = self.config, ""
        if config.use_dropout and not config.drops:
            dropout = ", nor does it have dropout: model.evoformer.pair_dropout=0.25 gives it some"
        if len(config.seeds) < config.num_seeds:
            return f"{self.name} draws nothing by its seed, so {config.num_seeds} seeds give one prediction{dropout}"
        return f"{self.name} was trained without dropout, and --use-dropout changes nothing" if dropout else ""

    def parameters(self, depth: int, templates: int) -> str:
        """The parameters as a prediction's files describe them; depth: rows of its alignment; templates: how many."""
        if self.path is None:
            return "untrained, rebuilt from their names"
        if self.name == default.NAME:
            measured = f"{default.MEASURED} {default.measured(depth, templates)}"
            return f"{default.NAME}, backbone and CB only, peptides closed; {measured}"
        return (
            f"{self.path.name}, AlphaFold parameters, {cache.LICENSE}" if self.path.suffix == ".npz" else self.path.name
        )

    @cached_property
    def digest(self) -> str:
        """The parameter file's SHA-256, from the cache's manifest where it is recorded."""
        if self.path is None:
            return UNTRAINED
        entry = cache.read_manifest().get(self.path.name)
        if entry and self.path.parent == cache.params_folder() and entry.size == self.path.stat().st_size:
            return entry.sha256
        return sha256(self.path)


def resolve(
    models: list[str],
    weights: str | None,
    overrides: Sequence[str] = (),
    typed: Mapping[str, Any] = NONE,
    queries: Sequence[Query] = (),
) -> list[Source]:
    """The models to fold with, in order: their settings and parameter files.

    models: presets; where none is named, AlphaFold-Multimer's if one of the queries is a complex, else the pTM models
    if the cache has any, else the model that comes with the package. weights: a parameter file, a folder of them, of a
    training run or of DeepSpeed, or `untrained`; None for the cache or the package. overrides, typed: settings, as for
    `compose.fold_config`. InputError, WeightsError, before any parameter is read.
    """
    complexes = any(query.chain_lengths for query in queries)
    by_default = not models and not complexes and not any(map(cache.find, PTM_MODELS))
    if weights is None and (by_default or models == [default.NAME]):
        models, weights = [], str(default.default_parameters())
    if weights and (only := file_in(Path(weights))):
        weights = str(only)
    if not models and weights and (described := describe_model(Path(weights))):
        return [Source(_rankable(fold_config(described, overrides, typed)), Path(weights))]
    _require_models(models)
    standard = MULTIMER_MODELS if complexes else PTM_MODELS
    first = fold_config(models[0] if models else standard[0], overrides, typed)
    names = models or list(standard[: first.num_models])
    if len(set(names)) < len(names):
        raise InputError("--model: a model is named twice; name each once")
    if weights and len(names) > 1 and Path(weights).is_file():
        raise InputError(f"--weights {weights}: one file holds one model; name it with --model, or give the folder")
    configs = [first, *(fold_config(name, overrides, typed) for name in names[1:])]
    return [Source(_rankable(config), _parameters_of(config.model.name, weights)) for config in configs]


def _require_models(names: Sequence[str]) -> None:
    """InputError for a name that --model does not take."""
    for name in names:
        if name == default.NAME:
            raise InputError(f"--model {name}: has its own parameters; name no other model and no --weights with it")
        if name not in presets():
            own = [preset for preset in presets() if preset not in cache.PRESETS]
            raise InputError(
                f"--model {name}: no such preset; there is {default.NAME}, {', '.join(cache.PRESETS)}, and with "
                f"--weights {', '.join(own)}"
            )


def _rankable(config: FoldConfig) -> FoldConfig:
    """The settings; InputError where the model does not predict what predictions are ranked by."""
    heads, wanted = config.model.heads, config.rank_by
    if wanted in ("ptm", "iptm", "multimer") and not heads.pae:
        raise InputError(
            f"--rank-by {wanted}: {config.model.name} predicts no pTM; rank by plddt, or take the pTM models"
        )
    return config


def describe_model(path: Path) -> dict[str, Any] | None:
    """The model's configuration from a parameter file's metadata, where `foldcli train` writes it; None without."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    noted = read_metadata(path).get("model")
    if not noted:
        return None
    try:
        described = json.loads(noted)
    except (ValueError, RecursionError):
        described = None
    # its name becomes part of the names of files
    if not isinstance(described, dict) or not re.fullmatch(r"[\w.-]+", str(described.get("name", ""))):
        raise WeightsError(f"{path}: its metadata 'model' is no description of a model; name the preset with --model")
    return described


def _parameters_of(name: str, weights: str | None) -> Path | None:
    if weights is None:
        if name not in cache.PRESETS and cache.find(name) is None:
            raise WeightsError(f"there are no published parameters for {name}; give --weights FILE or `{UNTRAINED}`")
        return cache.require(name)
    if weights == UNTRAINED:
        return None
    path = Path(weights)
    if path.is_dir():
        candidates = [path / f"params_{name}{suffix}" for suffix in cache.SUFFIXES]
        path = next((c for c in candidates if c.is_file()), candidates[0])
    if not path.is_file():
        raise WeightsError(f"--weights {path}: no such file; give a parameter file, a folder of them, or `{UNTRAINED}`")
    return path


def load_model(source: Source, device: torch.device, precision: torch.dtype) -> FoldingModel:
    """The model in evaluation mode on the device, its trunk in the precision; WeightsError: other parameters."""
    config = source.config.model
    with torch.device("meta"):
        model = FoldingModel(config)
    state = read_parameters(source.path, config)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    found = {key: value.shape for key, value in state.items()}
    if expected != found:
        wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise WeightsError(f"{source.path}: not the parameters of {config.name}: {len(wrong)} differ, first {wrong[0]}")
    model.load_state_dict(state, assign=True)
    model.trunk.to(precision)
    model.to(device).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, DropoutAdd | nn.Dropout):
            module.train(source.config.use_dropout)
    return model


def meta_model(config: ModelConfig, precision: torch.dtype) -> FoldingModel:
    """A model without memory for its parameters."""
    with torch.device("meta"):
        model = FoldingModel(config).eval().requires_grad_(False)
    model.trunk.to(precision)
    return model


def read_parameters(path: Path | None, config: ModelConfig) -> dict[str, torch.Tensor]:
    """The state dict from a file in any published layout; without a file, untrained, rebuilt from their names."""
    if path is None:
        seed = zlib.crc32(config.name.encode())
        return from_alphafold(seeded_parameters(published_shapes(config), seed=seed), config, UNTRAINED)
    if path.suffix == ".npz":
        return from_alphafold(read_npz(path), config, str(path))
    if path.suffix == ".safetensors":
        return {key: value.float() for key, value in read_safetensors(path).items()}
    if path.suffix in TORCH_SUFFIXES:
        return from_openfold(read_state_dict(path), config, str(path))
    raise WeightsError(f"{path}: not a parameter file; expected .npz, .safetensors, .pt or .ckpt")
