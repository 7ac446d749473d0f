"""Fused Evoformer blocks against the model's own, and versions of their kernels that must be rejected."""

from dataclasses import replace

import pytest
import torch
from foldcli_kernels import residual
from foldcli_kernels.norm_linear import forward as norm_linear
from foldcli_kernels.outer_product import forward as outer_product
from foldcli_kernels.transition import forward as transition
from foldcli_kernels.triangle_multiplication import update_forward as triangle_update
from torch import Tensor, nn

from foldcli import ops
from foldcli.compose import model_config
from foldcli.errors import FoldcliError
from foldcli.folding.fused_blocks import fused_copy
from foldcli.model.evoformer import EvoformerStack, OuterFirstStack
from tests.kernels.agreement import bfloat16_as_on_a_gpu, break_kernel

__all__ = ["bfloat16_as_on_a_gpu"]  # a fixture that pytest finds here

ROWS, LENGTH = 3, 5


def stack(extra: bool, kind: type[EvoformerStack] = EvoformerStack) -> nn.Module:
    """Return a stack of one block, every parameter drawn, such that each update changes what it is added to."""
    config = model_config("tiny")
    chosen = replace(config.extra_msa if extra else config.evoformer, blocks=1)
    torch.manual_seed(0)
    made = kind(chosen, config.c_z, global_columns=extra)
    for parameter in made.parameters():
        shape = parameter.shape
        with torch.no_grad():
            parameter.copy_(torch.randn(shape) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.5))
    return made.eval().requires_grad_(False)


def inputs(model: nn.Module) -> list[Tensor]:
    block = model.blocks[0]
    m = torch.randn(ROWS, LENGTH, block.row.norm.scale.numel())
    z = torch.randn(LENGTH, LENGTH, block.row.norm_z.scale.numel())
    msa_mask, residues = torch.ones(ROWS, LENGTH), torch.ones(LENGTH)
    msa_mask[1, 2:], residues[-1] = 0, 0
    return [m, z, msa_mask, residues[:, None] * residues]


def outputs(model: nn.Module, tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    with torch.no_grad():
        return list(model.to(dtype)(*(x.to(dtype) for x in tensors)))


def errors() -> list[float]:
    """Return the error of both representations in bfloat16 through the kernels, over that of the plain bodies."""
    model = stack(extra=False)
    tensors = [x.bfloat16().float() for x in inputs(model)]
    model.bfloat16()
    exact = outputs(model, tensors, torch.float64)
    plain = outputs(model, tensors, torch.bfloat16)
    with ops.backend("triton"):
        found = outputs(fused_copy(model), tensors, torch.bfloat16)
    return [_rms(x - truth) / _rms(y - truth) for x, y, truth in zip(found, plain, exact, strict=True)]


def _rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


@pytest.mark.parametrize("kind", [EvoformerStack, OuterFirstStack])
@pytest.mark.parametrize("extra", [False, True])
def test_fused_block_is_the_models(extra: bool, kind: type[EvoformerStack]) -> None:
    model = stack(extra, kind)
    tensors = inputs(model)
    expected = outputs(model, tensors, torch.float64)
    for body, fused in zip(expected, outputs(fused_copy(model), tensors, torch.float64), strict=True):
        torch.testing.assert_close(fused, body)


def test_kernels_are_as_exact_as_the_bodies() -> None:
    assert max(errors()) <= 1.5  # sums are rounded once less


def draw(*shape: int) -> Tensor:
    return torch.randn(shape) * (shape[-1] ** -0.5 if len(shape) == 2 else 1.0)


def operation(name: str, dtype: torch.dtype) -> list[Tensor]:
    """Return what ops.add_NAME gives on few positions, the same numbers in any precision."""
    torch.manual_seed(0)
    n, c, s, e = LENGTH, 32, ROWS, 8

    def given(*shape: int) -> Tensor:
        return draw(*shape).bfloat16().to(dtype)

    def dense(out: int, width: int) -> tuple[Tensor, Tensor]:
        return given(out, width), given(out)

    norm, z, update = (1 + given(c), given(c)), given(n, n, c), given(n, n, e)
    if name == "norm_linear":
        projections = [(given(64, c), None), (given(4, c), None)]
        total, found = ops.add_norm_linear(z.transpose(0, 1), update.transpose(0, 1), dense(c, e), norm, projections)
        return [total, *found]
    if name == "transition":
        return [ops.add_transition(z, update, dense(c, e), norm, dense(64, c), dense(c, 64))]
    if name == "triangle_update":
        return [ops.add_triangle_update(given(c, n, n), z, norm, dense(c, c), norm, dense(c, c))]
    projected = ops.norm_linear(given(s, n, c), norm, [dense(e, c), dense(e, c)], (given(s, n) > 0).to(dtype))
    return [ops.add_outer_product_mean(z, *projected, dense(c, e * e), torch.full((n, n), 2.0, dtype=dtype))]


def worst(name: str) -> float:
    """Return an operation's error through its kernel in bfloat16 over that of its body; the worst of its results."""
    exact, plain = (operation(name, dtype) for dtype in (torch.float64, torch.bfloat16))
    with ops.backend("triton"):
        found = operation(name, torch.bfloat16)
    return max(_rms(x - truth) / _rms(y - truth) for x, y, truth in zip(found, plain, exact, strict=True))


BROKEN = {
    "residual lost": ("norm_linear", residual, "add_projected", "rows + projected", "projected"),
    "update lost": ("norm_linear", residual, "add_projected", "rows + projected", "rows"),
    "sum not added": (
        "transition",
        transition,
        "transition_forward",
        "total += summed.to(tl.float32)",
        "total += 0",
    ),
    "pairs not added": ("triangle_update", triangle_update, "triangle_update_forward", "if ADD:", "if False:"),
    "pairs lost": (
        "outer_product_mean",
        outer_product,
        "outer_product_mean_forward",
        "result += tl.load(at",
        "tl.load(at",
    ),
    "mask lost": ("outer_product_mean", norm_linear, "project_rows", "result *= keep[:, None]", "result *= 1.0"),
    "planes turned": (
        "norm_linear",
        norm_linear,
        "norm_linear_forward",
        "inner, b0, b1, b2)",
        "inner, b0, b2, b1)",
    ),
}


@pytest.mark.parametrize("name", ["norm_linear", "transition", "triangle_update", "outer_product_mean"])
def test_operation_is_as_exact_as_its_body(name: str) -> None:
    assert worst(name) <= 1.5  # sums are rounded once less


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_kernel_is_rejected(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *change = BROKEN[fault]
    break_kernel(monkeypatch, *change)  # type: ignore[arg-type]
    assert not worst(str(name)) <= 1.5


def test_float32_takes_the_body() -> None:
    with pytest.raises(FoldcliError, match="float32 rows, and its kernel takes half precision"), ops.backend("triton"):
        operation("transition", torch.float32)
