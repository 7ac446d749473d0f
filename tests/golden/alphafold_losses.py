"""Compare our losses and their gradients with reference runs of DeepMind's AlphaFold."""

import json
from collections.abc import Iterator

import numpy as np
import torch

from foldcli.config import LossConfig
from foldcli.data.training.sample import Labels
from foldcli.model.alphafold import AlphaFold
from foldcli.training.losses import total
from foldcli.weights.alphafold import from_alphafold, rules
from tests.golden.reference_run import ReferenceRun

TERM, GRADIENT = 1e-4, 1e-3
ROUNDING = 2e-7
# Biases added to all logits of a softmax alike, which does not change it: their gradients are zero but for rounding.
UNSEEN = ("row.norm_z.offset", "structure.layer.attention.bias.bias")


class LossRun(ReferenceRun):
    """A folder written by run_losses.py, with the labels.npz that it was given."""

    def labels(self, clamped: bool = True) -> Labels:
        with np.load(self.folder / "labels.npz") as file:
            known = {key: torch.as_tensor(file[key]) for key in ("positions", "mask", "resolution")}
        with np.load(self.folder / "features.npz") as file:
            true_msa, bert_mask = (torch.as_tensor(file[key][0]) for key in ("true_msa", "bert_mask"))
        return Labels(**known, true_msa=true_msa, bert_mask=bert_mask, clamped=torch.tensor(float(clamped)))

    def losses(self) -> dict[str, dict]:
        """DeepMind's `terms`, and gradient `norms` by published parameter and block."""
        return json.loads((self.folder / "losses.json").read_text())

    @property
    def weights(self) -> LossConfig:
        """DeepMind's loss weights."""
        return LossConfig(resolved=0.01, pae=0.1, violations=float(self.about["violations"]))

    @property
    def weight(self) -> float:
        """The factor sqrt(crop length) of our total, which DeepMind's code does not have."""
        return len(self.labels().mask) ** 0.5

    def scored(self, nudge: int = 0) -> tuple[AlphaFold, dict[str, torch.Tensor]]:
        """Our model after a backward pass, and the loss terms; `nudge` seeds tiny parameter changes."""
        model, features = self.model(), self.passes()[0]
        random = torch.Generator().manual_seed(nudge)
        with torch.no_grad():
            for p in model.parameters() if nudge else ():
                p.mul_(1 + ROUNDING * torch.randn(p.shape, generator=random))
        output = model(features)
        terms = total(output, features, self.labels(), self.weights)
        terms["total"].backward()
        unclamped = total(output, features, self.labels(clamped=False), LossConfig())["backbone_fape"]
        return model, {key: value.detach() for key, value in terms.items()} | {"unclamped": unclamped.detach()}


def term_differences(run: LossRun, terms: dict[str, torch.Tensor]) -> dict[str, float]:
    """Difference of each term from DeepMind's, relative where the term is above 1."""
    expected = run.losses()["terms"]
    assert terms.keys() == expected.keys() | {"lddt_ca"}
    ours = {key: float(value) / (run.weight if key == "total" else 1) for key, value in terms.items()}
    return {key: abs(ours[key] - value) / max(1, abs(value)) for key, value in expected.items()}


def gradient_differences(run: LossRun, nudges: int = 6) -> dict[str, float]:
    """Largest difference in each parameter's gradient, relative to DeepMind's largest entry (see `_scale`).

    Gradients are discontinuous at ReLUs and clamped distances, where rounding decides on the side: the smallest
    difference over a few nudged runs is taken. A wrong gradient is wrong in all of them.
    """
    with np.load(run.folder / "gradients.npz") as file:
        expected = from_alphafold(dict(file), run.config(), "gradients")
    sizes = {key: float(value.abs().max()) for key, value in expected.items()}
    found = dict.fromkeys(sizes, float("inf"))
    for nudge in range(nudges):
        for key, p in run.scored(nudge)[0].named_parameters():
            off = float((p.grad / run.weight - expected[key]).abs().max()) / _scale(key, sizes)
            found[key] = min(found[key], off)
        if max(found.values()) <= GRADIENT:
            break
    return found


def norm_differences(run: LossRun, model: AlphaFold) -> dict[str, float]:
    """Difference in the norm of each parameter's gradient, relative to DeepMind's (see `_scale`)."""
    expected = dict(_norms(run))
    ours = {key: float(p.grad.norm()) / run.weight for key, p in model.named_parameters()}
    assert ours.keys() == expected.keys()
    return {key: abs(ours[key] - value) / _scale(key, expected) for key, value in expected.items()}


def _scale(key: str, sizes: dict[str, float]) -> float:
    """The scale of a difference: the gradient's size, but at least the rounding error of the largest gradient."""
    return max(sizes[key], max(sizes.values()) * (1e-3 if key.endswith(UNSEEN) else 1e-9))


def _norms(run: LossRun) -> Iterator[tuple[str, float]]:
    norms = run.losses()["norms"]
    for rule in rules(run.config()):
        yield rule.target, float(np.linalg.norm([norms[key][rule.block or 0] for key, _ in rule.sources]))
