"""The phases of a training step sum to its time."""

import pytest
import torch

from foldcli.bench.training import summary, time_training
from tests.training.conftest import small


def test_phases_make_up_the_steps() -> None:
    times = time_training(small("sample.max_recycle=0", "steps=1"), 2, torch.device("cpu"))
    assert sum(times.phases.values()) == pytest.approx(sum(times.steps))
    assert {"waiting for samples", "forward", "loss", "backward", "update"} <= times.phases.keys()
    assert min(times.phases.values()) >= 0 and 0 < times.utilisation < 1 and times.samples == 8
    assert summary(times).startswith("2 steps: ")
