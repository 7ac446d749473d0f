"""Both halves of triangle multiplication against their bodies in float64; and broken kernels."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from foldcli_kernels.triangle_multiplication import (
    blocks,
    operands_backward,
    operands_forward,
    triangle_operands,
    triangle_update,
    update_backward,
    update_forward,
)
from foldcli_kernels.triangle_multiplication.tiles import TILES, tiles_of
from foldcli_kernels.tuning import forced
from torch import Tensor

from foldcli import ops
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
# leading axes, i, k, c_z, c; a tile has 16 to 128 positions and 16 to 64 channels
Shape = tuple[tuple[int, ...], int, int, int, int]
SHAPES: list[Shape] = [((), 1, 1, 16, 16), ((), 3, 17, 32, 32), ((2,), 8, 16, 16, 24), ((1, 2), 2, 13, 20, 8)]
WIDE: Shape = ((), 1, 33, 128, 128)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def _operand_inputs(shape: Shape, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return z, scale, offset, weight and bias; and a mask."""
    batch, rows, length, width, hidden = shape
    g = torch.Generator().manual_seed(length)
    z, scale = _normal(g, *batch, rows, length, width), 1 + 0.3 * _normal(g, width)
    weight, bias = _normal(g, 4 * hidden, width) * width**-0.5, _normal(g, 4 * hidden)
    mask = (torch.rand(*batch, rows, length, generator=g) > 0.2).float()
    mask[..., 0] = 1
    return [x.to(dtype) for x in (z, scale, _normal(g, width), weight, bias)], mask


def _update_inputs(shape: Shape, dtype: torch.dtype) -> list[Tensor]:
    """Return product, z, and scale or weight and offset or bias of center, output, norm and gate."""
    batch, rows, length, width, hidden = shape
    g = torch.Generator().manual_seed(length)
    center = 1 + 0.3 * _normal(g, hidden), _normal(g, hidden)
    output = _normal(g, width, hidden) * hidden**-0.5, _normal(g, width)
    norm = 1 + 0.3 * _normal(g, width), _normal(g, width)
    gate = _normal(g, width, width) * width**-0.5, _normal(g, width)
    product = 5 * _normal(g, *batch, hidden, rows, length)
    z = _normal(g, *batch, rows, length, width)
    return [x.to(dtype) for x in (product, z, *center, *output, *norm, *gate)]


def _operands(
    function: Callable[..., tuple[Tensor, Tensor]], mask: Tensor, flip: bool = False
) -> Callable[..., list[Tensor]]:
    """Return the operation for a flat list of inputs; flip: for incoming edges, with z and mask transposed."""

    def apply(z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None) -> list[Tensor]:
        keep = mask.to(z.dtype)
        z, keep = (z.transpose(-2, -3), keep.transpose(-1, -2)) if flip else (z, keep)
        return list(function(z, (scale, offset), (weight, bias), keep))

    return apply


def _update(function: Callable[..., Tensor], flip: bool = False) -> Callable[..., Tensor]:
    def apply(product: Tensor, z: Tensor, *parts: Tensor) -> Tensor:
        pairs = [(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        return function(product, z.transpose(-2, -3) if flip else z, *pairs)

    return apply


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, WIDE])
def test_operands_agree_with_body(shape: Shape, dtype: torch.dtype) -> None:
    inputs, mask = _operand_inputs(shape, dtype)
    assert_agrees(_operands(triangle_operands, mask), _operands(ops.triangle_operands, mask), inputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, WIDE])
def test_update_agrees_with_body(shape: Shape, dtype: torch.dtype) -> None:
    assert_agrees(_update(triangle_update), _update(ops.triangle_update), _update_inputs(shape, dtype))


def test_incoming_edges_are_read_and_written_in_place() -> None:
    inputs, mask = _operand_inputs(((2,), 3, 18, 32, 16), torch.float32)
    kernel, body = (_operands(f, mask, flip=True) for f in (triangle_operands, ops.triangle_operands))
    assert_agrees(kernel, body, inputs)
    product, z, *rest = _update_inputs(((2,), 3, 18, 32, 16), torch.float32)
    inputs = [product.transpose(-1, -2), z, *rest]
    assert_agrees(_update(triangle_update, flip=True), _update(ops.triangle_update, flip=True), inputs)
    assert _update(triangle_update, flip=True)(*inputs).transpose(-2, -3).is_contiguous()


def test_whole_multiplication_agrees() -> None:
    """Both halves around torch's product, whose gradients come transposed and with padded rows."""
    inputs, mask = _operand_inputs(((), 9, 9, 32, 16), torch.float32)
    rest = _update_inputs(((), 9, 9, 32, 16), torch.float32)[2:]

    def whole(operands: Callable[..., list[Tensor]], update: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def apply(*flat: Tensor) -> Tensor:
            left, right = operands(*flat[:5])
            return update(ops.triangle_product(left, right), flat[0], *flat[5:])

        return apply

    kernel = whole(_operands(triangle_operands, mask), _update(triangle_update))
    body = whole(_operands(ops.triangle_operands, mask), _update(ops.triangle_update))
    assert_agrees(kernel, body, [*inputs, *rest])


def test_without_biases() -> None:
    inputs, mask = _operand_inputs(SHAPES[1], torch.float32)
    assert_agrees(_operands(triangle_operands, mask), _operands(ops.triangle_operands, mask), inputs[:4])

    def bare(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda product, z, a, b, output, c, d, gate: function(
            product, z, (a, b), (output, None), (c, d), (gate, None)
        )

    product, z, a, b, output, _, c, d, gate, _ = _update_inputs(SHAPES[1], torch.float32)
    assert_agrees(bare(triangle_update), bare(ops.triangle_update), [product, z, a, b, output, c, d, gate])


def test_every_candidate_tile_agrees() -> None:
    inputs, mask = _operand_inputs(SHAPES[1], torch.float32)
    flat = _update_inputs(SHAPES[1], torch.float32)
    for name in TILES:
        candidates, _ = tiles_of(name, 32)
        for options in candidates:
            with forced(f"{name}_32", options):
                if name.startswith("triangle_operands"):
                    assert_agrees(_operands(triangle_operands, mask), _operands(ops.triangle_operands, mask), inputs)
                else:
                    assert_agrees(_update(triangle_update), _update(ops.triangle_update), flat)


def test_rows_are_aligned_and_padding_is_zero() -> None:
    (z, scale, offset, weight, bias), mask = _operand_inputs(((), 3, 17, 32, 32), torch.float32)
    left, right = triangle_operands(z, (scale, offset), (weight, bias), mask)
    for operand in (left, right):
        assert operand.stride() == (3 * 32, 32, 1)
        assert not operand.as_strided((32, 3, 15), (3 * 32, 32, 1), 17).any()


def test_same_bits_twice() -> None:
    """There are so many tiles that several programs share the gradients of the parameters."""
    inputs, mask = _operand_inputs(((), 16, 32, 16, 16), torch.bfloat16)
    first, second = (outcome(_operands(triangle_operands, mask), inputs) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_many_programs_share_the_parameters() -> None:
    shape = ((2,), 8, 32, 16, 16)
    inputs, mask = _operand_inputs(shape, torch.float32)
    assert_agrees(_operands(triangle_operands, mask), _operands(ops.triangle_operands, mask), inputs)
    assert_agrees(_update(triangle_update), _update(ops.triangle_update), _update_inputs(shape, torch.float32))


def test_operators() -> None:
    inputs, mask = _operand_inputs(((), 3, 5, 16, 16), torch.float32)
    opcheck(torch.ops.foldcli.triangle_operands, (*(x.requires_grad_() for x in inputs), mask))
    flat = _update_inputs(((), 3, 5, 16, 16), torch.float32)
    opcheck(torch.ops.foldcli.triangle_update, tuple(x.requires_grad_() for x in flat))


def test_mask_has_no_gradient() -> None:
    (z, scale, offset, weight, bias), mask = _operand_inputs(SHAPES[1], torch.float32)
    with pytest.raises(ValueError, match="triangle_operands: no gradient"):
        triangle_operands(z, (scale, offset), (weight, bias), mask.requires_grad_())


INPUT = "gradient of input {}".format
OPERANDS, GATE = (operands_forward, "triangle_operands_forward"), (blocks, "gate_gradients")
OPERANDS_INPUT = operands_backward, "triangle_operands_backward_input"
OPERANDS_WEIGHTS = operands_backward, "triangle_operands_backward_weights"
UPDATE = update_forward, "triangle_update_forward"
UPDATE_INPUT = update_backward, "triangle_update_backward_input"
UPDATE_WEIGHTS = update_backward, "triangle_update_backward_weights"
OPERAND_BREAKS = [
    (OPERANDS, " * keep[None, :]", "", "result 0"),  # the mask is missing
    (OPERANDS, "row += 2 * HIDDEN", "row += HIDDEN", "result 1"),  # the wrong gates
    (GATE, "grad * value * opened", "grad * value", INPUT(0)),
    (GATE, "grad = grad * keep", "grad = grad", INPUT(0)),
    # all but the last gates are lost
    (OPERANDS_INPUT, "gates, total)", "gates, tl.zeros_like(total))", INPUT(0)),
    (OPERANDS_WEIGHTS, "(1), count,", "(1), count - 1,", INPUT(3)),  # the last tile is lost
    (OPERANDS_WEIGHTS, "value_sum += ", "value_sum = ", INPUT(4)),
]
UPDATE_BREAKS = [
    (UPDATE, "tl.sigmoid(logit)", "logit", "result 0"),
    (UPDATE, "triangles_c, center_scale,", "triangles_c, scale,", "result 0"),
    (UPDATE_INPUT, "* (1.0 - opened)", "", INPUT(1)),
    (UPDATE_INPUT, "center_total, center_scale,\n", "center_total, scale,\n", INPUT(0)),
    (UPDATE_WEIGHTS, "(1), count,", "(1), 1,", INPUT(4)),
    (UPDATE_WEIGHTS, "+ gate_shift[:, None]", "", INPUT(8)),
]


@pytest.mark.parametrize(("kernel", "old", "new", "wrong"), OPERAND_BREAKS)
def test_broken_operands_are_rejected(
    kernel: tuple[ModuleType, str], old: str, new: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, mask = _operand_inputs(((), 2, 17, 32, 32), torch.float32)
    break_kernel(monkeypatch, *kernel, old, new)
    assert wrong in rejected(_operands(triangle_operands, mask), _operands(ops.triangle_operands, mask), inputs)


@pytest.mark.parametrize(("kernel", "old", "new", "wrong"), UPDATE_BREAKS)
def test_broken_update_is_rejected(
    kernel: tuple[ModuleType, str], old: str, new: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_kernel(monkeypatch, *kernel, old, new)
    inputs = _update_inputs(((), 2, 17, 32, 32), torch.float32)
    assert wrong in rejected(_update(triangle_update), _update(ops.triangle_update), inputs)
