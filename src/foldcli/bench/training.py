"""Time of training steps by phase (`foldcli bench train`)."""

import contextlib
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from foldcli.config import TrainConfig
from foldcli.data.chain import Chain
from foldcli.data.query import Alignment
from foldcli.data.training.collate import stack
from foldcli.data.training.loader import Loader
from foldcli.data.training.make_sample import draw_sample
from foldcli.data.training.open_source import open_source
from foldcli.data.training.sample import Sample
from foldcli.data.training.shards import Shard
from foldcli.data.training.tensors import map_tensors
from foldcli.parallel.mesh import RankMesh
from foldcli.search.homologs import with_homologs
from foldcli.system_memory import peak_bytes, reset_peak
from foldcli.timers import Timers
from foldcli.training.begin import new_model
from foldcli.training.flops import pass_flops, peak_flops, training_passes
from foldcli.training.graphs import StepGraphs
from foldcli.training.learner import Learner, Step

# Steps that are not timed: workers start, memory is allocated.
WARM = 3
# Steps on CUDA of which `time_one_step` takes the median.
TIMED = 5


@dataclass(frozen=True)
class TrainingTimes:
    """Seconds of each phase over all steps, seconds of each step, number of samples, and utilisation.

    utilisation: model FLOP/s as a fraction of a large matrix product's on this device.
    """

    phases: dict[str, float]
    steps: list[float]
    samples: int
    utilisation: float

    @property
    def samples_per_second(self) -> float:
        return self.samples / sum(self.steps)


class SynchronizedTimers(Timers):
    """Timers that wait for the device before they stop, so that asynchronous kernels count."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        with super().timed(name):
            yield
            _wait_for(self.device)


def time_training(config: TrainConfig, steps: int, device: torch.device) -> TrainingTimes:
    """Time `steps` optimiser steps on real data, without checkpoints or validation; the parameters are discarded."""
    config = replace(config, steps=WARM + steps)
    learner = Learner(new_model(config, device, RankMesh()), config, RankMesh())
    learner.graphs = StepGraphs(usable=False)  # which have no phases
    loader = Loader(with_homologs(open_source(config.train), config.train), config, device=device)
    spent, passes = list[float](), list[int]()
    with contextlib.closing(loader):
        loader.start(0)
        for number in range(WARM + steps):
            if number == WARM:
                learner.timers, loader.waited = SynchronizedTimers(device), 0.0
            start = time.perf_counter()
            batches = loader.step()
            learner.learn(batches)
            spent.append(time.perf_counter() - start)
            passes.append(sum(training_passes(batch) for batch in batches))
    spent = spent[WARM:]
    phases = {"waiting for samples": loader.waited, **learner.timers.seconds}
    phases["everything else"] = sum(spent) - sum(phases.values())
    flops = sum(passes[WARM:]) * pass_flops(config.model, batches[0].passes[-1])
    utilisation = flops / sum(spent) / peak_flops(device, learner.dtype)
    return TrainingTimes(phases, spent, steps * config.batch_size, utilisation)


def long_sample(config: TrainConfig, shard: Path) -> Sample:
    """A micro-batch of one chain of the crop's length: chains of a shard one after another, longest first.

    MSA rows are sampled from the chains' real profiles, since whole alignments are too large to include.
    """
    random, source = np.random.default_rng(0), Shard(shard)
    rows = config.model.msa.max_clusters + config.model.msa.max_extra
    order = np.argsort(-source.arrays["lengths"], kind="stable").tolist()
    length, parts = 0, list[Chain]()
    while length < config.sample.crop:
        parts.append(source.load(order[len(parts)]))
        length += len(parts[-1].sequence)
    profile = np.concatenate([part.profile for part in parts if part.profile is not None])
    thresholds = random.random((rows, length, 1))
    tokens = (profile.cumsum(axis=1) < thresholds).sum(axis=-1).clip(max=19).astype(np.int8)
    chain = Chain(
        parts[0].name, "".join(part.sequence for part in parts), np.concatenate([part.positions for part in parts]),
        np.concatenate([part.mask for part in parts]), 2.0, Alignment(tokens, np.zeros(tokens.shape, np.int32)),
    )  # fmt: skip
    return stack([draw_sample(chain, config, 0, random)])


def time_one_step(learner: Learner, sample: Sample) -> tuple[Step, float, int]:
    """Steps from one micro-batch: what the last found, the median of their seconds, and peak bytes on their device.

    On CUDA TIMED steps are timed, after one that compiles the kernels; on the CPU, where steps are alike, there is one.
    The learner's timers then hold the phases of the last.
    """
    device, learner.graphs = learner.device, StepGraphs(usable=False)
    batches = [map_tensors(lambda tensor: tensor.to(device), sample)]
    if device.type == "cuda":
        learner.learn(batches)
    reset_peak(device)
    spent = list[float]()
    for _ in range(TIMED if device.type == "cuda" else 1):
        learner.timers = SynchronizedTimers(device)
        _wait_for(device)
        start = time.perf_counter()
        step = learner.learn(batches)
        _wait_for(device)
        spent.append(time.perf_counter() - start)
    return step, statistics.median(spent), peak_bytes(device)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(times: TrainingTimes) -> str:
    """Samples/s, median step and utilisation on one line."""
    median = statistics.median(times.steps) * 1e3
    return (
        f"{len(times.steps)} steps: {times.samples_per_second:.2f} samples/s, median step {median:.0f} ms, "
        f"model FLOP/s {times.utilisation:.1%} of a large matrix product's"
    )


def table(times: TrainingTimes, launches: Mapping[str, int]) -> Table:
    """Phases as a table, the longest first; launches: of a step with all recycling passes on a GPU, by phase."""
    total = sum(times.steps)
    grid = Table("phase", "ms a step", "share", "launches on a GPU")
    for name, seconds in sorted(times.phases.items(), key=lambda item: -item[1]):
        counted = str(launches[name]) if name in launches else ""
        grid.add_row(name, f"{seconds / len(times.steps) * 1e3:.1f}", f"{seconds / total:.1%}", counted)
    return grid
