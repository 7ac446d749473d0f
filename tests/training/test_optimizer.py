"""An update of all parameters at once equals torch's own optimisers; a refused step changes nothing."""

import pytest
import torch
from torch import nn

from foldcli.config import OptimizerConfig
from foldcli.training.optimizer import Optimizer

SHAPES = [(64, 64), (32, 32), (8, 25), (256, 64), (64, 256), (2, 64), (64, 65), (70,), (3, 4, 5), ()]


def model_of(device: str = "cpu", dtype: torch.dtype = torch.float32) -> nn.Module:
    random, model = torch.Generator().manual_seed(0), nn.Module()
    for k, shape in enumerate(SHAPES):
        parameter = torch.randn(shape, generator=random).to(device, dtype if k % 2 else torch.float32)
        model.register_parameter(f"p{k}", nn.Parameter(parameter))
    return model


def torchs(parameters: list[torch.Tensor], config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    others = [p for p in parameters if p.dim() != 2 or config.matrices == "adam"]
    adam = torch.optim.Adam(others, config.rate, (config.beta1, config.beta2), config.epsilon)
    if config.matrices == "adam":
        return [adam]
    matrices = [p for p in parameters if p.dim() == 2]
    return [adam, torch.optim.Muon(matrices, config.rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")]


@pytest.mark.parametrize("matrices", ["adam", "muon"])
def test_updates_are_torchs(matrices: str) -> None:
    model = model_of()
    config = OptimizerConfig(matrices=matrices, rate=0.1, clip=1e9, warmup_samples=0)
    expected = [p.detach().clone() for p in model.parameters()]
    ours, theirs, random = Optimizer(model, config), torchs(expected, config), torch.Generator().manual_seed(1)
    for number in range(3):
        gradients = [torch.randn(shape, generator=random) for shape in SHAPES]
        for parameter, gradient in zip(expected, gradients, strict=True):
            parameter.grad = gradient
        for optimizer in theirs:
            optimizer.step()
        norm = ours.add([g.mT.contiguous().mT if g.dim() > 1 else g for g in gradients], 1.0)
        assert norm == pytest.approx(float(torch.cat([g.flatten() for g in gradients]).norm()))
        ours.schedule(1, 10**6, number)
        ours.step(torch.tensor(1.0))
    for found, p in zip(model.parameters(), expected, strict=True):
        # Muon computes in bfloat16: a unit in its last place of three updates, each element of which is about 0.02
        assert torch.allclose(found, p, rtol=0, atol=5e-4 if matrices == "muon" and p.dim() == 2 else 1e-6)


def test_a_refused_step_changes_nothing_but_forgets_its_gradient() -> None:
    model = model_of(dtype=torch.bfloat16)
    optimizer = Optimizer(model, OptimizerConfig(matrices="muon", warmup_samples=0))
    random, poisoned = torch.Generator().manual_seed(1), [torch.full_like(p, torch.nan) for p in model.parameters()]
    for taken in (1.0, 0.0):
        gradients = poisoned if not taken else [torch.randn(p.shape, generator=random) for p in model.parameters()]
        before = {name: tensor.clone() for name, tensor in optimizer.state().items()}
        optimizer.add(gradients, 1.0)
        optimizer.schedule(1, 10**6, 0)
        optimizer.step(torch.tensor(taken))
        assert any(not tensor.equal(before[name]) for name, tensor in optimizer.state().items()) == bool(taken)
        assert not optimizer.gradient.any()
    assert all(p.equal(optimizer.state()[f"parameter.p{k}"].to(p.dtype)) for k, p in enumerate(model.parameters()))


@pytest.mark.parametrize("matrices", ["adam", "muon"])
def test_state_that_a_checkpoint_fills_lies_with_its_parameters(matrices: str) -> None:
    """Fused Adam refuses a counter of steps on another device."""
    state = Optimizer(model_of("meta"), OptimizerConfig(matrices=matrices)).state()
    assert {name: tensor.device.type for name, tensor in state.items()} == dict.fromkeys(state, "meta")
    assert {"adam.step.p7", "parameter.p0", "average.p0"} <= state.keys()
    assert ("muon.momentum_buffer.p0" in state) == (matrices == "muon")


def test_parameters_start_where_kernels_read_them_fast() -> None:
    model = model_of(dtype=torch.bfloat16)
    Optimizer(model, OptimizerConfig(matrices="muon"))
    assert all(p.data_ptr() % 16 == 0 for p in model.parameters())
