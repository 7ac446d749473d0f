"""How well the averaged parameters fold chains that are not learnt from."""

from collections.abc import Iterable

import torch

from foldcli.data.sample import Sample
from foldcli.data.tensors import map_tensors
from foldcli.model.alphafold import AlphaFold
from foldcli.phases import Phases
from foldcli.training.learner import ca_lddt, predict
from foldcli.training.ranks import Ranks


@torch.no_grad()
def validate(model: AlphaFold, samples: Iterable[Sample], ranks: Ranks, device: torch.device) -> dict[str, float]:
    """Mean scores of whole chains over all data ranks, each chain counting the same."""
    scores: dict[str, float] = {}
    for sample in samples:
        sample = map_tensors(lambda tensor: tensor.to(device), sample)
        output = predict(model, sample, Phases())
        scores["lddt"] = scores.get("lddt", 0.0) + float(ca_lddt(output, sample))
        scores["chains"] = scores.get("chains", 0.0) + 1
    sums = torch.tensor([scores[name] for name in sorted(scores)], dtype=torch.float64, device=device)
    ranks.sum_over_data([sums])
    means = dict(zip(sorted(scores), (sums / sums[sorted(scores).index("chains")]).tolist(), strict=True))
    del means["chains"]
    return means
