"""Kernels that a training step launches on CUDA, and waits of the host in it, counted without a GPU."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import torch

from foldcli.bench.launch_counter import LaunchCounter
from foldcli.config import TrainConfig
from foldcli.data.training.micro_batch import MicroBatches
from foldcli.data.training.open_source import open_source
from foldcli.data.training.packed_tensors import pack
from foldcli.data.training.sample import Sample
from foldcli.parallel.mesh import RankMesh
from foldcli.search.homologs import with_homologs
from foldcli.timers import Timers
from foldcli.training.begin import new_model
from foldcli.training.learner import Learner

META = torch.device("meta")


class PhaseTimers(Timers):
    """Tell a counter which phase runs."""

    def __init__(self, counter: LaunchCounter) -> None:
        super().__init__()
        self.counter = counter

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        before, self.counter.phase = self.counter.phase, name
        yield
        self.counter.phase = before


def count_step(config: TrainConfig) -> LaunchCounter:
    """Count one step in bfloat16, of one micro-batch of real chains with all recycling passes."""
    config = replace(config, precision="bf16", batch_size=config.micro_batch)
    packed = pack(_longest(config))
    learner = Learner(new_model(config, META, RankMesh()), config, RankMesh())
    counter = LaunchCounter()
    with counter.counting():  # the first step copies tables to the device
        learner.start([packed.to(META).unpack()])
    counter.launches.clear()
    counter.waits.clear()
    learner.timers = PhaseTimers(counter)
    with counter.counting():
        with learner.timers.timed("to the device"):
            batch = packed.to(META).unpack()
        learner.start([batch])
    return counter


def _longest(config: TrainConfig) -> Sample:
    """The first micro-batch with the most recycling passes that are drawn."""
    draw = MicroBatches(with_homologs(open_source(config.train), config.train), config)
    found = (draw((number, 0)).sample for number in count())
    return next(x for x in found if x is not None and len(x.passes) == config.sample.max_recycle + 1)
