"""Reference runs of DeepMind's AlphaFold: features, parameters and outputs, read from the folder of one run."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import torch

from foldcli.bench.peers.alphafold_arrays import features_of, seeded_model
from foldcli.compose import model_config
from foldcli.config import ModelConfig
from foldcli.geometry.atoms import pseudo_beta
from foldcli.geometry.lddt import distances
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.embedders import RecyclingEmbedder
from foldcli.model.features import Features


@dataclasses.dataclass(frozen=True)
class ReferenceRun:
    """A folder that run_alphafold.py or run_multimer.py wrote: features.npz, by pass, outputs.npz and config.json."""

    folder: Path

    @property
    def about(self) -> dict[str, str]:
        return json.loads((self.folder / "config.json").read_text())

    def config(self) -> ModelConfig:
        config = model_config(self.about["preset"])
        evoformer = dataclasses.replace(config.evoformer, blocks=int(self.about["blocks"]))
        extra = dataclasses.replace(config.extra_msa, blocks=int(self.about["extra_blocks"]))
        template = config.template if config.complexes or int(self.about["templates"]) else None
        return dataclasses.replace(config, evoformer=evoformer, extra_msa=extra, template=template)

    def model(self) -> AlphaFold:
        return seeded_model(self.config(), float(self.about["scale"]), int(self.about["seed"]))

    def passes(self) -> list[Features]:
        arrays = dict(np.load(self.folder / "features.npz"))
        return [features_of({key: value[k] for key, value in arrays.items()}) for k in range(len(arrays["aatype"]))]

    @property
    def chain_lengths(self) -> tuple[int, ...]:
        """The residues of each chain of a complex; empty for a single chain."""
        return tuple(int(length) for length in self.about.get("chains", "").split(",") if length)

    def outputs(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / "outputs.npz"))

    def fold(self, model: AlphaFold) -> Output:
        return self.fold_by_pass(model)[-1]

    def nearest_edge(self, model: AlphaFold) -> float:
        """Angstrom from any recycled distance to the edge between two bins, at which rounding chooses the bin."""
        first, last, count = RecyclingEmbedder.FIRST_BIN, RecyclingEmbedder.LAST_BIN, RecyclingEmbedder.BINS
        gaps = []
        for features, output in list(zip(self.passes(), self.fold_by_pass(model), strict=True))[:-1]:
            beta = pseudo_beta(features.aatype, output.positions)
            gaps.append((distances(beta, beta).unsqueeze(-1) - torch.linspace(first, last, count)).abs().min())
        return min((float(gap) for gap in gaps), default=math.inf)

    @torch.inference_mode()
    def fold_by_pass(self, model: AlphaFold) -> list[Output]:
        outputs: list[Output] = []
        for features in self.passes():
            outputs.append(model(features, outputs[-1].recycled() if outputs else None))
        return outputs
