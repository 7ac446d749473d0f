"""The phases of a training step sum to its time."""

from typing import Any

import pytest
import torch

from foldcli.bench.training import TIMED, summary, time_one_step, time_training
from tests.training.conftest import small


def test_phases_make_up_the_steps() -> None:
    times = time_training(small("sample.max_recycle=0", "steps=1"), 2, torch.device("cpu"))
    assert sum(times.phases.values()) == pytest.approx(sum(times.steps))
    assert {"waiting for samples", "forward", "loss", "backward", "update"} <= times.phases.keys()
    assert min(times.phases.values()) >= 0 and 0 < times.utilisation < 1 and times.samples == 8
    assert summary(times).startswith("2 steps: ")


class Recorder:
    """Stands for a learner: counts its steps."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.steps = device, 0

    def learn(self, batches: list[Any]) -> int:
        self.steps += 1
        return self.steps


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_gpu_is_given_the_sample_warmed_up_and_asked_for_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: asked.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 << 30)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: asked.append(f"to {device}") or self)
    learner: Any = Recorder(torch.device("cuda"))
    sample: Any = (torch.empty(3), torch.empty(2))
    step, _, peak = time_one_step(learner, sample)
    assert (step, peak) == (1 + TIMED, 5 << 30)
    assert asked == ["to cuda", "to cuda", "reset_peak_memory_stats", *2 * TIMED * ["synchronize"]]


@pytest.mark.usefixtures("unchecked_shapes")
def test_the_cpu_takes_one_step() -> None:
    learner: Any = Recorder(torch.device("cpu"))
    sample: Any = (torch.empty(3),)
    step, seconds, peak = time_one_step(learner, sample)
    assert step == 1 and seconds >= 0 and peak > 0
