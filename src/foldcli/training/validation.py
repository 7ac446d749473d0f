"""Validation: score the averaged parameters on chains that are not trained on."""

from collections.abc import Iterable
from dataclasses import astuple, fields

import torch

from foldcli.data.training.sample import Sample
from foldcli.data.training.tensors import map_tensors
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.gradients import average_over_data
from foldcli.parallel.mesh import RankMesh
from foldcli.protein.residues import CA
from foldcli.timers import Timers
from foldcli.training.learner import predict
from foldcli.training.metrics import Agreement, agreement

NAMES = [field.name for field in fields(Agreement)]


@torch.no_grad()
def validate(model: AlphaFold, samples: Iterable[Sample], mesh: RankMesh) -> dict[str, float]:
    """Mean scores over all chains of all data ranks, by the names of `Agreement`."""
    device = next(model.parameters()).device
    sums = torch.zeros(len(NAMES) + 1, dtype=torch.float64, device=device)
    for sample in samples:
        sample = map_tensors(lambda tensor: tensor.to(device), sample)
        output = predict(model, sample, Timers())
        labels, known = sample.labels, sample.labels.mask[..., CA] * sample.passes[-1].seq_mask
        for predicted, true, mask in zip(output.positions, labels.positions, known, strict=True):
            scores = agreement(predicted[:, CA], true[:, CA], mask)
            sums += sums.new_tensor([1.0, *astuple(scores)])
    average_over_data([sums], mesh)
    return dict(zip(NAMES, (sums[1:] / sums[0]).tolist(), strict=True))
