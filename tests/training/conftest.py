"""A small run on real chains, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from foldcli.compose import train_config
from foldcli.config import TrainConfig
from foldcli.parallel.mesh import RankMesh
from foldcli.training.begin import begin
from foldcli.training.run import TrainingRun

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = [
    f"train.shards={GOLDEN / 'chains.npz'}", f"validation.shards={GOLDEN / 'chains_val.npz'}", "workers=0",
    "sample.crop=16", "model.evoformer.blocks=1", "model.structure.layers=2", "validation_chains=1",
    "validate_every=0", "checkpoint.every=2", "steps=6", "optimizer.matrices=muon",
]  # fmt: skip


class Watched:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stepped(self, step: int, detail: str) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


def small(*overrides: str) -> TrainConfig:
    return train_config("tiny", [*SMALL, *overrides])


def begun(folder: Path, *overrides: str, resume: bool = True, watcher: Watched | None = None) -> TrainingRun:
    return begin(small(*overrides), folder, resume, torch.device("cpu"), RankMesh(), watcher or Watched())


@pytest.fixture(autouse=True, scope="package")  # before any run of a module's own
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
