"""Train the default model's structure module and pLDDT head alone, on what its trunk makes of training samples.

    python benchmarks/fit_structure_module.py --weights mini.safetensors --samples 400 --out fitted.safetensors \\
        train.shards=chains.npz train.relatives=relatives.npz sample.crop=128 sample.nearly_true_share=0.25

The trunk keeps its parameters, so that it runs once for each of a sample's two passes, and not in every epoch: on two
CPU cores this is the part of the model that can be trained within an hour. KEY=VALUE are settings of `foldcli train
--config mini`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foldcli.compose import train_config
from foldcli.config import TrainConfig
from foldcli.data.training.collate import stack
from foldcli.data.training.make_sample import draw_sample
from foldcli.data.training.open_source import open_source
from foldcli.data.training.sample import Labels
from foldcli.folding.models import load_model, resolve
from foldcli.geometry.lddt import lddt
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.features import Features, Recycled
from foldcli.model.structure import all_atoms
from foldcli.protein.residues import CA
from foldcli.search.homologs import with_homologs
from foldcli.shapes import Pair, Single, Tensor
from foldcli.training.folder import export
from foldcli.training.losses import total

VALIDATION, BATCH, WARM_UP, AVERAGE, CLIP = 40, 4, 40, 0.98, 100.0


@dataclass(frozen=True)
class TrunkOutput:
    """One pass of one sample: its features and labels, and the trunk's representations."""

    features: Features
    labels: Labels
    z: Pair
    s: Single


@torch.no_grad()
def trunk_outputs(model: AlphaFold, config: TrainConfig, count: int) -> Iterator[TrunkOutput]:
    """Two passes each of `count` random samples, the second of which recycles the first."""
    source = with_homologs(open_source(config.train, "train"), config.train)
    random = np.random.default_rng(config.seed)
    for position in random.permutation(len(source.entries))[:count]:
        sample = stack([draw_sample(source.load(int(position)), config, 1, random)])
        previous: Recycled | None = None
        for features in sample.passes:
            m, z, s = model.trunk(features, previous or model.first_pass(features))
            yield TrunkOutput(features, sample.labels, z.bfloat16(), s)
            _, states = model.structure(s, z, features.seq_mask, features.start)
            previous = Recycled(m[..., 0, :, :], z.bfloat16(), all_atoms(features.aatype, states[-1]))


def output(model: AlphaFold, made: TrunkOutput) -> Output:
    """The model's output from the trunk's; the masked MSA, which this model does not learn, is empty."""
    z, s, heads = made.z.float(), made.s.float(), model.heads
    refined, states = model.structure(s, z, made.features.seq_mask, made.features.start)
    row = s.new_zeros(*s.shape[:-1], model.config.evoformer.c_m)
    return Output(
        positions=all_atoms(made.features.aatype, states[-1]), states=states, distogram=heads.distogram(z),
        masked_msa=heads.masked_msa(row.unsqueeze(-3)), resolved=heads.resolved(s), lddt=heads.lddt(refined),
        pae=None if heads.pae is None else heads.pae(z), msa_first_row=row, pair=z, single=s,
    )  # fmt: skip


def fit(model: AlphaFold, config: TrainConfig, made: Sequence[TrunkOutput], epochs: int, rate: float) -> None:
    """Train by Adam with a warm-up and a linear cool-down; the model ends with its averaged parameters."""
    model.requires_grad_(False)
    learnt = [*model.structure.parameters(), *model.heads.lddt.parameters()]
    for parameter in learnt:
        parameter.requires_grad_(True)
    averages = [parameter.detach().clone() for parameter in learnt]
    optimizer, random = torch.optim.Adam(learnt, rate), np.random.default_rng(0)
    steps = epochs * len(made) // BATCH
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM_UP) * min(1, (steps - step) / (0.7 * steps))
        optimizer.zero_grad()
        for which in random.permutation(len(made))[:BATCH]:
            one = made[which]
            terms = total(output(model, one), one.features, one.labels, config.loss, config.model)
            (terms["total"].mean() / BATCH).backward()
        torch.nn.utils.clip_grad_norm_(learnt, CLIP)
        optimizer.step()
        _move(averages, learnt, 1 - AVERAGE)
    _move(learnt, averages, 1.0)


@torch.no_grad()
def _move(these: Sequence[Tensor], towards: Sequence[Tensor], share: float) -> None:
    for one, other in zip(these, towards, strict=True):
        one.lerp_(other, share)


@torch.no_grad()
def lddt_with_and_without(model: AlphaFold, made: Sequence[TrunkOutput]) -> dict[str, float]:
    """Mean lDDT-CA of passes with and without a template."""
    scores: dict[str, list[float]] = {"with a template": [], "without": []}
    for one in made:
        known = one.labels.mask[..., CA] * one.features.seq_mask
        start = one.features.start
        kind = "with a template" if start is not None and bool(start.any()) else "without"
        found = output(model, one).positions[..., CA, :]
        scores[kind].append(float(lddt(found, one.labels.positions[..., CA, :], known)))
    return {kind: round(float(np.mean(those)), 3) for kind, those in scores.items() if those}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = train_config("mini", options.settings)
    (source,) = resolve([], str(options.weights), [])
    model = load_model(source, torch.device("cpu"), torch.bfloat16)
    made = list(trunk_outputs(model, config, options.samples))
    learn, hold = made[:-VALIDATION], made[-VALIDATION:]
    model.float()
    print(json.dumps({"before": lddt_with_and_without(model, hold)}), flush=True)
    fit(model, config, learn, options.epochs, options.rate)
    print(json.dumps({"after": lddt_with_and_without(model, hold)}))
    notes = f"structure module and pLDDT head of {options.weights.name} trained on {len(learn)} passes more"
    export(options.out, config.model, dict(model.state_dict()), notes)


if __name__ == "__main__":
    main()
