"""The optimiser's state lies where fused Adam wants it."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.config import OptimizerConfig
from foldcli.training.optimizer import Optimizer


@pytest.mark.parametrize("matrices", ["adam", "muon"])
def test_state_that_a_checkpoint_fills_lies_with_its_parameters(matrices: str) -> None:
    with FakeTensorMode():  # whose tensors can say "cuda" on any machine
        model = nn.Module()
        model.weight = nn.Parameter(torch.empty(3, 4, device="cuda"))
        model.bias = nn.Parameter(torch.empty(3, device="cuda"))
        state = Optimizer(model, OptimizerConfig(matrices=matrices)).state()
    assert {name: tensor.device.type for name, tensor in state.items()} == dict.fromkeys(state, "cuda")
    assert "adam.step.bias" in state
