"""The tiny model through every kernel: the outputs of the bodies, and the gradients of a block."""

import dataclasses
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foldcli import ops
from foldcli.compose import model_config
from foldcli.model.alphafold import AlphaFold
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.msa import MsaColumnGlobalAttention
from foldcli.ops import attention, dense, dispatch, pair
from foldcli.weights.alphafold import from_alphafold, published_shapes
from foldcli.weights.seeded import seeded_parameters
from tests.golden.reference_run import ReferenceRun

GOLDEN = Path(__file__).parents[1] / "golden"
# Every operation of a plain block that has a kernel; the triangle product is torch's, key_fill is for fused blocks.
KERNELS = {
    name
    for module in (attention, dense, pair)
    for name, function in vars(module).items()
    if hasattr(function, "__wrapped__") and name in ops.__all__ and name not in ("triangle_product", "key_fill")
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kernel runs."""
    counted: Counter[str] = Counter()
    uses = dispatch._uses_kernel

    def counting(kernel: dispatch.LazyKernel, *rest: object) -> bool:
        used = uses(kernel, *rest)  # type: ignore[arg-type]
        counted[kernel.operation] += used
        return used

    monkeypatch.setattr(dispatch, "_uses_kernel", counting)
    return counted


def _cut(features: Any, sizes: dict[int, int]) -> Any:
    """Shorten the axes of the golden run's features: an axis whose length is a key gets its value."""
    cut = {}
    for field in dataclasses.fields(features):
        value = getattr(features, field.name)
        if isinstance(value, Tensor):
            cut[field.name] = value[tuple(slice(sizes.get(length, length)) for length in value.shape)]
        elif value is not None:
            cut[field.name] = _cut(value, sizes)
    return dataclasses.replace(features, **cut)


def _tiny() -> AlphaFold:
    config = model_config("tiny")
    config = dataclasses.replace(config, evoformer=dataclasses.replace(config.evoformer, blocks=1))
    model = AlphaFold(config).eval()
    model.load_state_dict(from_alphafold(seeded_parameters(published_shapes(config)), config, "rebuilt from names"))
    return model


def test_model_gives_the_same_through_every_kernel(calls: Counter[str]) -> None:
    """Other tests compare the bodies with DeepMind's outputs; this one compares the kernels with the bodies."""
    model = _tiny()
    # Few residues, MSA rows and extra MSA rows, since the interpreter is slow.
    features = _cut(ReferenceRun(GOLDEN / "templates").passes()[0], {24: 7, 30: 5, 48: 3})
    features = dataclasses.replace(features, seq_mask=features.seq_mask.index_fill(0, torch.tensor([6]), 0.0))
    with torch.inference_mode():
        expected = model(features)
        with ops.backend("triton"):
            found = model(features)
    assert {name for name, count in calls.items() if count} == KERNELS
    for name in ("distogram", "masked_msa", "resolved", "lddt", "pae", "msa_first_row", "pair", "single", "positions"):
        body, kernel = getattr(expected, name), getattr(found, name)
        assert (kernel - body).abs().max() <= 2e-5 * body.abs().max(), name


def _block(n: int, s: int) -> tuple[torch.nn.Module, list[Tensor], list[Tensor]]:
    """Return a block of the tiny model's extra-MSA stack, which has every kernel, with part of its input masked."""
    config = model_config("tiny")
    stack = config.extra_msa
    torch.manual_seed(0)
    block = EvoformerBlock(stack, config.c_z, MsaColumnGlobalAttention(stack.c_m, stack.msa_heads))
    m, z = torch.randn(s, n, stack.c_m), torch.randn(n, n, config.c_z)
    msa_mask, residues = torch.ones(s, n), torch.ones(n)
    msa_mask[1, 2:], residues[-1] = 0, 0
    return block.eval(), [m, z], [msa_mask, residues[:, None] * residues]


def _gradients(block: torch.nn.Module, leaves: list[Tensor], masks: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return a block's outputs and the gradients of a scalar loss of them, for inputs and parameters."""
    block = block.to(dtype)
    leaves = [x.to(dtype).requires_grad_() for x in leaves]
    m, z = block(*leaves, *(mask.to(dtype) for mask in masks))
    loss = m.square().mean() + (z * z.detach().cos()).mean()
    return [m.detach(), z.detach(), *torch.autograd.grad(loss, [*leaves, *block.parameters()])]


def test_gradients_of_a_block(calls: Counter[str]) -> None:
    block, leaves, masks = _block(n=7, s=5)
    exact = _gradients(block, leaves, masks, torch.float64)
    plain = _gradients(block, leaves, masks, torch.float32)
    with ops.backend("triton"):
        found = _gradients(block, leaves, masks, torch.float32)
    assert {name for name, count in calls.items() if count} == KERNELS
    names = ["m", "z", "gradient of m", "gradient of z", *(name for name, _ in block.named_parameters())]
    usual = statistics.median(map(_rms, exact[2:]))
    for name, y, before, after in zip(names, exact, plain, found, strict=True):
        # A bias that shifts all logits alike has no gradient: there the usual size of a gradient sets the tolerance.
        assert _rms(after - y) <= 3 * _rms(before - y) + 1e-6 * max(_rms(y), 1e-3 * usual), name


def _rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()
