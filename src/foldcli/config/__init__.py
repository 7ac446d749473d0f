"""The settings of commands and models: frozen dataclasses, which foldcli.compose fills."""

from foldcli.config.build import build
from foldcli.config.fold import FoldConfig
from foldcli.config.model import HeadsConfig, ModelConfig, MsaConfig, StackConfig, StructureConfig, TemplateConfig
from foldcli.config.train import (
    CheckpointConfig,
    GuardConfig,
    LossConfig,
    OptimizerConfig,
    SampleConfig,
    SourceConfig,
    TrainConfig,
)

__all__ = [
    "CheckpointConfig", "FoldConfig", "GuardConfig", "HeadsConfig", "LossConfig", "ModelConfig", "MsaConfig",
    "OptimizerConfig", "SampleConfig", "SourceConfig", "StackConfig", "StructureConfig", "TemplateConfig",
    "TrainConfig", "build",
]  # fmt: skip
