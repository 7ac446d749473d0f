"""Layer norm and projections against their body: widths, strides, precisions, and versions that must be rejected."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from foldcli_kernels.layer_norm import statistics
from foldcli_kernels.norm_linear import backward, forward, launch, norm_linear
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


def inputs(shape: tuple[int, ...], outs: list[int], biased: list[bool], dtype: torch.dtype) -> list[Tensor]:
    """Return x, scale, offset, then weight and bias (if it has one) of each projection."""
    generator = torch.Generator().manual_seed(0)
    width = shape[-1]
    drawn = [0.5 + torch.randn(shape, generator=generator), 1 + 0.3 * torch.randn(width, generator=generator)]
    drawn.append(torch.randn(width, generator=generator))
    for out, has_bias in zip(outs, biased, strict=True):
        drawn.append(torch.randn(out, width, generator=generator) * width**-0.5)
        drawn += [torch.randn(out, generator=generator)] if has_bias else []
    return [tensor.to(dtype) for tensor in drawn]


def pairs(tensors: tuple[Tensor, ...], biased: list[bool]) -> list[tuple[Tensor, Tensor | None]]:
    rest = list(tensors)
    return [(rest.pop(0), rest.pop(0) if has_bias else None) for has_bias in biased]


def kernel(biased: list[bool]) -> Callable[..., list[Tensor]]:
    return lambda x, scale, offset, *dense: norm_linear(x, (scale, offset), pairs(dense, biased))


def body(biased: list[bool]) -> Callable[..., list[Tensor]]:
    def plain(x: Tensor, scale: Tensor, offset: Tensor, *layers: Tensor) -> list[Tensor]:
        normed = F.layer_norm(x, x.shape[-1:], scale, offset, dense.LAYER_NORM_EPS)
        return [F.linear(normed, *layer) for layer in pairs(layers, biased)]

    return plain


def check(shape: tuple[int, ...], outs: list[int], biased: list[bool], dtype: torch.dtype) -> None:
    assert_agrees(kernel(biased), body(biased), inputs(shape, outs, biased, dtype))


SHAPES = [
    ((1, 64), [256], [False]),
    ((7, 16), [64], [True]),
    ((2, 65, 64), [256, 4], [False, False]),
    ((129, 128), [160, 8], [False, True]),
    ((3, 5, 32), [24, 20], [True, True]),
    ((13, 100), [37], [True]),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "outs", "biased"), SHAPES)
def test_agrees_with_body(shape: tuple[int, ...], outs: list[int], biased: list[bool], dtype: torch.dtype) -> None:
    check(shape, outs, biased, dtype)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("width", [256, 384, 512])
def test_wide_rows(width: int, dtype: torch.dtype) -> None:
    check((17, width), [48], [True], dtype)


@pytest.mark.parametrize("count", [3, 4])
def test_more_projections_than_one_pass_takes(count: int) -> None:
    check((9, 32), [16] * count, [False, True, False, True][:count], torch.float32)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns": lambda x: x.transpose(-2, -3),
    "sliced": lambda x: x[:, 1:, ::2],
    "channels first": lambda x: x.movedim(-3, -1),
    "one row for all": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "four axes": lambda x: x.unflatten(1, (4, 8))[:, 1:, 1::3, ::2],
}


@pytest.mark.parametrize("view", VIEWS)
def test_reads_views(view: str) -> None:
    x = VIEWS[view](torch.randn(2, 32, 6, 32))
    tensors = inputs((x.shape[-1],), [40, 4], [False, True], torch.float32)
    assert_agrees(kernel([False, True]), body([False, True]), [x, *tensors[1:]])


def test_gradients_arrive_in_any_memory_order() -> None:
    def heads_first(function: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
        def turned(*tensors: Tensor) -> list[Tensor]:
            packed, bias = function(*tensors)
            return [packed.transpose(-2, -3).contiguous(), bias.movedim(-1, -3).contiguous()]

        return turned

    tensors = inputs((2, 5, 6, 32), [64, 4], [False, False], torch.float32)
    tensors[0] = tensors[0].transpose(1, 2)
    flags = [False, False]
    assert_agrees(heads_first(kernel(flags)), heads_first(body(flags)), tensors)


def test_result_keeps_the_memory_order() -> None:
    tensors = inputs((3, 5, 32), [64], [False], torch.float32)
    found = outcome(kernel([False]), [tensors[0].transpose(0, 1), *tensors[1:]])
    assert found["result 0"].stride() == (64, 5 * 64, 1)
    assert found["gradient of input 0"].stride() == (32, 5 * 32, 1)


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_small_tiles(dtype: torch.dtype) -> None:
    """Several blocks of rows, of columns and of channels, the last of each partly filled."""
    with (
        forced("norm_linear_forward_c128", {"block_m": 16, "block_n": 16, "block_k": 32}),
        forced("norm_linear_input_c128", {"block_m": 16, "block_n": 16}),
        forced("norm_linear_weights_c128", {"block_m": 16, "block_n": 16}),
        forced("norm_linear_narrow_weights_c128", {"block_m": 16}),
    ):
        check((37, 80), [40, 4], [True, False], dtype)


def test_result_that_nothing_uses() -> None:
    def first(function: Callable[..., list[Tensor]]) -> Callable[..., Tensor]:
        return lambda *tensors: function(*tensors)[0]

    tensors = inputs((6, 32), [32, 4], [True, False], torch.float32)
    found = outcome(first(kernel([True, False])), tensors)
    assert torch.equal(found.pop("gradient of input 5"), torch.zeros(4, 32))
    expected = outcome(first(body([True, False])), tensors)
    assert all(torch.allclose(found[name], value, atol=1e-5) for name, value in expected.items())


def test_gradients_do_not_depend_on_the_run() -> None:
    tensors = inputs((300, 32), [32], [True], torch.bfloat16)
    first, second = (outcome(kernel([True]), tensors) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_operator() -> None:
    tensors = inputs((3, 4, 16), [16, 4], [False, True], torch.float32)
    tensors[0] = tensors[0].transpose(0, 1)
    x, scale, offset, weight, weight2, bias2 = (tensor.detach().requires_grad_() for tensor in tensors)
    for mask in (None, torch.ones(4, 3)):
        layers = [weight, weight2], [bias2], [False, True]
        opcheck(torch.ops.foldcli.norm_linear.default, (x, scale, offset, *layers, mask))
    grads = [torch.ones(4, 3, 16), torch.ones(4, 3, 4)]
    weights = [tensors[3], tensors[4]]
    opcheck(torch.ops.foldcli.norm_linear_backward.default, (grads, *tensors[:3], weights, [False, True]))


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_results_are_multiplied_by_a_mask(dtype: torch.dtype) -> None:
    tensors, mask = inputs((5, 7, 32), [24, 20], [True, True], dtype), (torch.arange(35).view(5, 7) % 3 > 0).to(dtype)
    biased = [True, True]

    def masked(x: Tensor, scale: Tensor, offset: Tensor, *layers: Tensor) -> list[Tensor]:
        return norm_linear(x, (scale, offset), pairs(layers, biased), mask)

    def plain(*leaves: Tensor) -> list[Tensor]:
        return [y * mask.to(y.dtype).unsqueeze(-1) for y in body(biased)(*leaves)]

    assert_agrees(masked, plain, tensors)


@pytest.mark.parametrize("shape", [(3, 5, 32), (3, 16, 32), (3, 1, 32), (2, 3, 5, 32)])
@pytest.mark.parametrize("turn", [False, True])
def test_biases_of_pairs_lie_in_planes_with_zeros_beyond(turn: bool, shape: tuple[int, ...]) -> None:
    """Attention reads them in vectors, head by head."""
    x, *rest = inputs(shape, [4, 64], [False, False], torch.float32)
    x = x.transpose(-2, -3) if turn else x
    planes = norm_linear(x, (rest[0], rest[1]), [(rest[2], None), (rest[3], None)])[0].movedim(-1, -3)
    *batch, rows, length, _ = x.shape
    pitch = -(-length // 16) * 16
    assert planes.stride()[-3:] == (rows * pitch, pitch, 1)
    whole = planes.as_strided((*batch, 4, rows, pitch), planes.stride())
    assert torch.equal(whole[..., :length], planes)
    assert not whole[..., length:].any()
    expected = body([False])(x, *rest[:3])[0].movedim(-1, -3)
    torch.testing.assert_close(planes, expected, rtol=1e-5, atol=1e-5)


def test_traces_without_running() -> None:
    with FakeTensorMode() as mode:
        tensors = inputs((5, 3, 32), [64, 4], [False, False], torch.float32)
        x, *rest = (mode.from_tensor(tensor.requires_grad_()) for tensor in tensors)
        packed, bias = kernel([False, False])(x.transpose(0, 1), *rest)
        (packed.sum() + bias.sum()).backward()
    assert packed.stride() == (64, 3 * 64, 1)
    assert x.grad is not None
    assert rest[-1].grad.shape == (4, 32)


FORWARD, INPUT, WEIGHTS = "norm_linear_forward", "norm_linear_backward_input", "norm_linear_backward_weights"
BROKEN = {
    "bias left out": (forward, "project_rows", "if HAS_BIAS", "if False", "result 1"),
    "offset left out": (statistics, "normalise", " + shift[None, :]", "", "result 0"),
    "first twice": (forward, FORWARD, "offset, weight2", "offset, weight", "result 1"),
    "last row lost": (forward, FORWARD, "row < rows", "row + 1 < rows", "result 0"),
    "last column lost": (forward, "project_rows", "& (column < OUT)", "& (column + 1 < OUT)", "result 0"),
    "second projection forgotten": (backward, INPUT, "OUT2 > 0", "False", "gradient of input 0"),
    "scale left out": (statistics, "store_norm_gradient", "total * factor[None, :]", "total", "gradient of input 0"),
    "group of rows lost": (backward, WEIGHTS, "(1), blocks", "(1), blocks - 1", "gradient of input 3"),
    "bias of last block only": (backward, WEIGHTS, "total_bias +=", "total_bias =", "gradient of input 5"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_broken_kernel_is_rejected(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, old, new, wrong = BROKEN[name]
    flags = [False, True]
    tensors = inputs((21, 32), [32, 4], flags, dtype)
    monkeypatch.setattr(launch, "PROGRAMS", 1)
    small = {"block_m": 16, "block_n": 16}
    with (
        forced("norm_linear_weights_c64", small),
        forced("norm_linear_narrow_weights_c64", small),
        forced("norm_linear_forward_c64", small | {"block_k": 64}),
    ):
        assert not rejected(kernel(flags), body(flags), tensors)
        break_kernel(monkeypatch, module, function, old, new)
        assert wrong in rejected(kernel(flags), body(flags), tensors)
