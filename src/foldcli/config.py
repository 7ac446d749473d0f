"""Configuration: frozen dataclasses, filled once from Hydra; the defaults are AlphaFold's (Jumper et al. 2021)."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from foldcli.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class StackConfig:
    """An Evoformer stack (Suppl. Alg. 6), or the extra-MSA stack (Alg. 18) with its own width and depth."""

    blocks: int = 48
    c_m: int = 256
    msa_heads: int = 8
    pair_heads: int = 4
    c_outer: int = 32
    c_triangle: int = 128
    transition_factor: int = 4


@dataclass(frozen=True)
class TemplateConfig:
    """Template embedding: pair stack (Suppl. Alg. 16), point-wise attention (Alg. 17) and torsion rows."""

    blocks: int = 2
    c_t: int = 64
    heads: int = 4
    c_triangle: int = 64
    transition_factor: int = 2


@dataclass(frozen=True)
class StructureConfig:
    """Structure module (Suppl. Alg. 20); position_scale is in angstrom per unit of its internal coordinates."""

    layers: int = 8
    heads: int = 12
    scalar_qk: int = 16
    scalar_v: int = 16
    point_qk: int = 4
    point_v: int = 8
    c_angles: int = 128
    angle_blocks: int = 2
    position_scale: float = 10.0


@dataclass(frozen=True)
class HeadsConfig:
    """Prediction heads (Suppl. Sec. 1.9); breaks are in angstrom; `pae` is there in the pTM models only."""

    distogram_bins: int = 64
    distogram_first_break: float = 2.3125
    distogram_last_break: float = 21.6875
    plddt_bins: int = 50
    c_plddt: int = 128
    pae: bool = False
    pae_bins: int = 64
    pae_last_break: float = 31.0


@dataclass(frozen=True)
class MsaConfig:
    """How an alignment becomes features (Suppl. Sec. 1.2.7): rows kept, rows masked and what masks them."""

    max_clusters: int = 512
    max_extra: int = 1024
    mask_fraction: float = 0.15
    uniform_prob: float = 0.1
    profile_prob: float = 0.1
    same_prob: float = 0.1


@dataclass(frozen=True)
class ModelConfig:
    """AlphaFold 2's widths and depths, as one preset."""

    name: str
    c_z: int = 128
    c_s: int = 384
    max_relative: int = 32
    evoformer: StackConfig = field(default_factory=StackConfig)
    extra_msa: StackConfig = field(default_factory=lambda: StackConfig(blocks=4, c_m=64))
    template: TemplateConfig | None = None
    structure: StructureConfig = field(default_factory=StructureConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    msa: MsaConfig = field(default_factory=MsaConfig)


@dataclass(frozen=True)
class FoldConfig:
    """What `foldcli fold` does (conf/fold.yaml holds the defaults).

    model: the preset of one model, by its own name; rank_by: plddt or ptm; sort: length (shortest first), longest or
    none; device: auto, cpu or cuda; precision: auto, fp32 or bf16; recycle_early_stop_tolerance in angstrom.
    """

    model: ModelConfig
    num_models: int
    num_seeds: int
    random_seed: int
    num_recycle: int
    recycle_early_stop_tolerance: float
    rank_by: str
    sort: str
    device: str
    precision: str
    gpus: int
    save_single_representations: bool
    save_pair_representations: bool
    overwrite: bool

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "rank_by": ("plddt", "ptm"),
        "sort": ("length", "longest", "none"),
        "device": ("auto", "cpu", "cuda"),
        "precision": ("auto", "fp32", "bf16"),
    }
    SMALLEST: ClassVar[dict[str, int]] = {
        "num_models": 1,
        "num_seeds": 1,
        "random_seed": 0,
        "num_recycle": 0,
        "gpus": 1,
    }

    def __post_init__(self) -> None:
        for key, choices in self.CHOICES.items():
            if getattr(self, key) not in choices:
                raise InputError(f"configuration: '{key}' is {getattr(self, key)!r}, expected {' or '.join(choices)}")
        for key, smallest in self.SMALLEST.items():
            if getattr(self, key) < smallest:
                raise InputError(f"configuration: '{key}' is {getattr(self, key)}, expected {smallest} or more")
        if self.gpus > 1:
            raise InputError(f"--gpus {self.gpus}: one prediction over several GPUs is not there yet; use --gpus 1")


def build(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Fill dataclass `cls` from a mapping, nested ones too; InputError names a key that does not exist."""
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise InputError(f"configuration: no key '{path}{key}'; there is {', '.join(sorted(known))}")
    return cls(**{key: _convert(hints[key], value, f"{path}{key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, path: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and types.NoneType in options:
        return None
    kind = next(option for option in options if option is not types.NoneType)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return build(kind, value, f"{path}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"configuration: '{path}' is {value!r}, expected {kind.__name__}")
    return value
