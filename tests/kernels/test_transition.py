"""The transition against its body: sizes, strides, precisions, and versions that must be rejected."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from foldcli_kernels.transition import backward, forward, launch, transition
from foldcli_kernels.tuning import forced
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.ops import dense
from tests.kernels.agreement import (
    DTYPES,
    assert_agrees,
    bfloat16_as_on_a_gpu,
    break_kernel,
    opcheck,
    outcome,
    rejected,
)

__all__ = ["bfloat16_as_on_a_gpu"]  # a fixture that pytest finds here


def inputs(shape: tuple[int, ...], hidden: int, dtype: torch.dtype) -> list[Tensor]:
    """Return x, scale, offset, and weight and bias of both layers."""
    generator = torch.Generator().manual_seed(0)
    width = shape[-1]
    sizes = [shape, (width,), (width,), (hidden, width), (hidden,), (width, hidden), (width,)]
    x, scale, offset, expand, expand_bias, contract, contract_bias = (
        torch.randn(size, generator=generator) for size in sizes
    )
    drawn = [
        x + 0.5, 1 + 0.3 * scale, offset, expand * width**-0.5, expand_bias, contract * hidden**-0.5, contract_bias,
    ]  # fmt: skip
    return [tensor.to(dtype) for tensor in drawn]


def kernel(x: Tensor, *rest: Tensor) -> Tensor:
    return transition(x, rest[:2], rest[2:4], rest[4:6])


def body(x: Tensor, *rest: Tensor) -> Tensor:
    normed = F.layer_norm(x, x.shape[-1:], *rest[:2], dense.LAYER_NORM_EPS)
    return F.linear(F.linear(normed, *rest[2:4]).relu(), *rest[4:6])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "hidden"), [((1, 16), 64), ((7, 64), 128), ((2, 33, 32), 96), ((129, 128), 80), ((13, 100), 37)]
)
def test_agrees_with_body(shape: tuple[int, ...], hidden: int, dtype: torch.dtype) -> None:
    assert_agrees(kernel, body, inputs(shape, hidden, dtype))


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("width", [256, 384])
def test_wide_rows(width: int, dtype: torch.dtype) -> None:
    assert_agrees(kernel, body, inputs((17, width), 48, dtype))


@pytest.mark.parametrize("has", [(False, False), (True, False), (False, True)])
def test_layers_without_bias(has: tuple[bool, bool]) -> None:
    def without(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def some(x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, contract: Tensor, *biases: Tensor) -> Tensor:
            rest = list(biases)
            first, second = (rest.pop(0) if each else None for each in has)
            return function(x, scale, offset, expand, first, contract, second)

        return some

    x, scale, offset, expand, expand_bias, contract, contract_bias = inputs((9, 32), 64, torch.float32)
    biases = [bias for bias, each in zip((expand_bias, contract_bias), has, strict=True) if each]
    assert_agrees(without(kernel), without(body), [x, scale, offset, expand, contract, *biases])


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns": lambda x: x.transpose(-2, -3),
    "sliced": lambda x: x[:, 1:, ::2],
    "channels first": lambda x: x.movedim(-3, -1),
}


@pytest.mark.parametrize("view", VIEWS)
def test_reads_views(view: str) -> None:
    x = VIEWS[view](torch.randn(2, 16, 6, 16))
    assert_agrees(kernel, body, [x, *inputs((16,), 32, torch.float32)[1:]])


def test_result_keeps_the_memory_order() -> None:
    x, *rest = inputs((3, 5, 16), 32, torch.float32)
    found = outcome(kernel, [x.transpose(0, 1), *rest])
    assert found["result 0"].stride() == found["gradient of input 0"].stride() == (16, 5 * 16, 1)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("block_k", [16, 128])
def test_small_tiles(block_k: int, dtype: torch.dtype) -> None:
    """Several blocks of rows, of hidden and of input channels, the last of each partly filled."""
    tile = {"block_m": 16, "block_h": 16, "block_k": block_k}
    with (
        forced("transition_forward_c128", tile),
        forced("transition_input_c128", tile),
        forced("transition_weights_c128", tile),
    ):
        assert_agrees(kernel, body, inputs((37, 72), 40, dtype))


def test_gradients_do_not_depend_on_the_run() -> None:
    tensors = inputs((300, 32), 64, torch.bfloat16)
    first, second = (outcome(kernel, tensors) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_operator() -> None:
    tensors = inputs((3, 4, 16), 32, torch.float32)
    tensors[0] = tensors[0].transpose(0, 1)
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    opcheck(torch.ops.foldcli.transition.default, tuple(leaves))
    opcheck(torch.ops.foldcli.transition_backward.default, (torch.ones(4, 3, 16), *tensors[:6], True))
    leaves[4] = tensors[4] = None  # type: ignore[call-overload]
    opcheck(torch.ops.foldcli.transition.default, tuple(leaves))
    opcheck(torch.ops.foldcli.transition_backward.default, (torch.ones(4, 3, 16), *tensors[:6], False))


def test_traces_without_running() -> None:
    with FakeTensorMode() as mode:
        x, *rest = (mode.from_tensor(tensor.requires_grad_()) for tensor in inputs((5, 3, 32), 64, torch.float32))
        result = kernel(x.transpose(0, 1), *rest)
        result.sum().backward()
    assert result.stride() == (32, 3 * 32, 1)
    assert [tensor.grad.shape for tensor in (x, *rest)] == [tensor.shape for tensor in (x, *rest)]


FORWARD, INPUT, WEIGHTS = "transition_forward", "transition_backward_input", "transition_backward_weights"
BROKEN = {
    "no rectifier": (forward, FORWARD, "tl.maximum(hidden, 0.0)", "hidden", 0),
    "hidden tile lost": (forward, FORWARD, "(0, HIDDEN, BLOCK_H)", "(BLOCK_H, HIDDEN, BLOCK_H)", 0),
    "bias after rectifier": (forward, FORWARD, "if EXPAND_BIAS", "if False", 0),
    "last row lost": (forward, FORWARD, "inside = row < rows", "inside = row + 1 < rows", 0),
    "gradient through the rectifier": (backward, INPUT, "hidden > 0", "hidden < 9", 1),
    "norm of x left out": (backward, INPUT, "HIDDEN, True, ", "HIDDEN, False, ", 1),
    "gradient of hidden tile lost": (backward, INPUT, "(0, HIDDEN, BLOCK_H)", "(0, HIDDEN - 1, BLOCK_H)", 1),
    "bias of last tile": (backward, WEIGHTS, "total_bias += ", "total_bias = ", 5),
    "group of rows lost": (backward, WEIGHTS, "(1), blocks", "(1), blocks - 1", 4),
    "no rectifier in weights": (backward, WEIGHTS, "tl.maximum(hidden, 0.0)", "hidden", 6),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_broken_kernel_is_rejected(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, old, new, wrong = BROKEN[name]
    tensors = inputs((21, 32), 33, dtype)
    monkeypatch.setattr(launch, "PROGRAMS", 1)
    tile = {"block_m": 16, "block_h": 16, "block_k": 16}
    with (
        forced("transition_forward_c64", tile),
        forced("transition_input_c64", tile),
        forced("transition_weights_c64", tile),
    ):
        assert not rejected(kernel, body, tensors)
        break_kernel(monkeypatch, module, function, old, new)
        assert (f"gradient of input {wrong - 1}" if wrong else "result 0") in rejected(kernel, body, tensors)
