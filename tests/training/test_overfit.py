"""Training overfits a fragment of a real chain from random parameters; benchmarks/overfit.py overfits four chains."""

import numpy as np
import torch

from foldcli.data.training.collate import stack
from foldcli.data.training.make_sample import draw_sample
from foldcli.data.training.open_source import open_source
from foldcli.parallel.mesh import RankMesh
from foldcli.training.begin import new_model
from foldcli.training.learner import Learner
from tests.training.conftest import small

STEADY = [
    "steps=1000000", "batch_size=1", "micro_batch=1", "sample.crop=16", "sample.template_share=0", "loss.clamp=0",
    "loss.masked_msa=0", "loss.resolved=0", "loss.pae=0", "loss.lddt=0", "optimizer.warmup_samples=20",
    "optimizer.matrices=adam",
    "model.evoformer.msa_dropout=0", "model.evoformer.pair_dropout=0", "model.structure.dropout=0",
]  # fmt: skip


def test_a_fragment_is_learnt_by_heart() -> None:
    config = small(*STEADY)
    sample = stack([draw_sample(open_source(config.train).load(0), config, 0, np.random.default_rng(1))])
    learner = Learner(new_model(config, torch.device("cpu"), RankMesh()), config, RankMesh())
    steps = [learner.learn([sample]) for _ in range(70)]
    assert steps[0].lddt < 0.15
    assert max(step.lddt for step in steps[-10:]) > 0.4
    assert min(step.loss for step in steps[-10:]) < 0.5 * steps[0].loss
