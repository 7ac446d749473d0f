"""What a training step asks of a GPU, counted without one: few launches, and nothing that the host waits for."""

import numpy as np
import pytest
import torch

from foldcli.bench.launch_counter import LaunchCounter
from foldcli.bench.training_launches import count_step
from foldcli.compose import train_config


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_step_of_mini_launches_no_more_than_recorded_and_never_waits() -> None:
    """28,633 launches and 52 waits, of 128 samples, before all parameters were updated at once."""
    found = count_step(train_config("mini", ["micro_batch=16", "batch_size=16", "sample.crop=64"]))
    assert not found.waits
    phases = found.by_phase()
    assert phases.keys() == {"to the device", "recycling", "forward", "loss", "backward", "update"}
    assert min(phases.values()) > 0
    assert sum(phases.values()) <= 2500, phases


WAITING = {
    "_local_scalar_dense": lambda x: float(x.sum()),
    "_local_scalar_dense of a condition": lambda x: bool(x.sum() > 0),
    "nonzero": lambda x: x.nonzero(),
    "copy between devices": lambda x: x + torch.tensor([1.0, 2.0]).to(x.device),
    "copy between devices, of a table": lambda x: x + torch.as_tensor(np.ones(2, np.float32), device=x.device),
    "copy between devices, of a list": lambda x: x.new_tensor([1.0, 2.0]),
    "copy between devices, of indices": lambda x: x[[1, 0]],
}


@pytest.mark.parametrize("name", WAITING)
def test_what_makes_the_host_wait_is_seen(name: str) -> None:
    x = torch.empty(2, device="meta")
    with LaunchCounter().counting() as counter:
        WAITING[name](x)
    assert [waits for _, waits in counter.waits] == [name.split(" of ")[0].split(",")[0]]


def test_launches_are_of_what_computes() -> None:
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    with LaunchCounter().counting() as counter:
        y = (x.unflatten(-1, (2, 2)).transpose(0, 1)[1:] * 2).sum()
        torch.autograd.grad(y, x)
        torch._foreach_add_([torch.empty(2, device="meta")] * 200, 1)
    found = {name: count for (_, name), count in counter.launches.items() if count}
    assert found == {"mul": 2, "sum": 1, "ones_like": 1, "slice_backward": 2, "clone": 1, "_foreach_add_": 2}
