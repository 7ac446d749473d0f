"""Models that fold a job whole on one GPU, in half precision: with fused blocks, and in CUDA graphs where these pay."""

from collections.abc import Mapping

import torch

from foldcli.folding.fused_blocks import fused_copy
from foldcli.folding.graphs import StackGraphs
from foldcli.model.alphafold import FoldingModel
from foldcli.ops.dispatch import chosen
from foldcli.system_memory import available_bytes


class WholeModels:
    """The run's models, each made anew from the plain one when first needed; parameters are shared."""

    def __init__(self, device: torch.device, precision: torch.dtype) -> None:
        self.device = device
        self.fused = device.type == "cuda" and precision.itemsize == 2 and chosen() != "reference"
        self.graphs = StackGraphs(device)
        self.made: dict[str, FoldingModel] = {}

    def fit(self, models: Mapping[str, FoldingModel], times: float) -> Mapping[str, FoldingModel]:
        """The models for a job that fits into free memory so many times; graphs may take what it leaves."""
        if not self.fused:
            return models
        free = available_bytes(self.device) or 0
        self.graphs.allow(free / times, free - free / times)
        for name, model in models.items():
            if name not in self.made:
                self.made[name] = self.graphs.wrap(fused_copy(model))
        return {name: self.made[name] for name in models}
