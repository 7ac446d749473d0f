"""Gradients of the operands of a triangle product; values and gates are computed again from the pairs.

Two kernels, one for the pairs and one for the parameters, each with its own recomputation: 524,288 FLOPs a pair at 128
channels and 2.3 KB of traffic, where a stored gradient of the projection (512 channels a pair, four pair tensors) and
library products would take 393,216 FLOPs and 3.8 KB, which is more time and much more memory.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.layer_norm_rows import empty_rows, standardise, standardise_backward
from foldcli_kernels.specimen import Specimen
from foldcli_kernels.triangle_tiles import (
    declare_widths,
    launch_options,
    load_bias,
    load_channels,
    load_folded,
    load_normed,
    load_rows,
    load_vector,
    padded_length,
    pairs,
    place,
    planes,
    product,
    projection_gradients,
    slices,
    specimens_of,
    store_partial,
    tile_constants,
    tiles,
)

# z, scale, offset, weight, bias, mask
Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]
PAIRS = [{"block_p": 64, "block_n": n, "num_warps": 8, "num_stages": s} for n, s in [(32, 3), (16, 2)]]
PARAMETERS = [{"block_p": p, "block_n": n, "num_warps": w, "num_stages": 2} for p, n, w in [(64, 64, 8), (64, 32, 4)]]
PAIRS_SINGLE = {"block_p": 16, "block_n": 16, "num_warps": 4, "num_stages": 2}
PARAMETERS_SINGLE = {"block_p": 32, "block_n": 32, "num_warps": 8, "num_stages": 2}
declare_widths("triangle_operands_pairs", PAIRS, PAIRS_SINGLE)
declare_widths("triangle_operands_parameters", PARAMETERS, PARAMETERS_SINGLE)


@triton.jit
def ungate(grad, value, gate, keep):
    """Gradients of a masked, gated value and of its gate's logit."""
    opened = tl.sigmoid(gate)
    grad = grad * keep
    return grad * opened, grad * value * opened * (1.0 - opened)


@triton.jit
def pairs_kernel(
    left, right, z, scale, offset, weight, bias, mask, grad_z, rows, length, padded,
    left_b, left_c, left_i, right_b, right_c, right_i, z_b, z_i, z_k, mask_b, mask_i, mask_k, grad_b, grad_i, grad_k,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = place(tl.program_id(0), rows, length, padded, BLOCK_P)
    source = batch * z_b + i * z_i + k * z_k
    normed = load_normed(z, source, inside, 1, scale, offset, WIDTH, BLOCK_C)
    keep = tl.load(mask + batch * mask_b + i * mask_i + k * mask_k, mask=inside, other=0.0).to(tl.float32)[:, None]
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for side in tl.static_range(2):
        if side == 0:
            grad = left + batch * left_b + i * left_i + k
            step = left_c
        else:
            grad = right + batch * right_b + i * right_i + k
            step = right_c
        for start in range(0, HIDDEN, BLOCK_N):
            channel = start + tl.arange(0, BLOCK_N)
            real = channel < HIDDEN
            row = side * HIDDEN + channel
            values = load_rows(weight, row, real, WIDTH, BLOCK_C)
            gates = load_rows(weight, row + 2 * HIDDEN, real, WIDTH, BLOCK_C)
            value = product(normed, tl.trans(values), tl.zeros([BLOCK_P, BLOCK_N], tl.float32))
            value += load_bias(bias, row, real, HAS_BIAS, BLOCK_N)[None, :]
            gate = product(normed, tl.trans(gates), tl.zeros([BLOCK_P, BLOCK_N], tl.float32))
            gate += load_bias(bias, row + 2 * HIDDEN, real, HAS_BIAS, BLOCK_N)[None, :]
            incoming = tl.load(
                grad[:, None] + channel.to(tl.int64)[None, :] * step, mask=inside[:, None] & real[None, :], other=0.0
            ).to(tl.float32)
            grad_value, grad_gate = ungate(incoming, value, gate, keep)
            total = product(grad_value.to(values.dtype), values, total)
            total = product(grad_gate.to(gates.dtype), gates, total)
    # Read again, from a near cache, rather than kept in registers through the loop.
    standard, reciprocal = standardise(load_channels(z, source, inside, 1, WIDTH, BLOCK_C), WIDTH, BLOCK_C)
    result = standardise_backward(total * load_vector(scale, WIDTH, BLOCK_C)[None, :], standard, reciprocal, WIDTH)
    target = grad_z + batch * grad_b + i * grad_i + k * grad_k
    out = tl.arange(0, BLOCK_C)
    tl.store(
        target[:, None] + out[None, :],
        result.to(grad_z.dtype.element_ty),
        mask=inside[:, None] & (out < WIDTH)[None, :],
    )


@triton.jit
def parameters_kernel(
    incoming, z, scale, offset, weight, bias, mask, partial, sums, side, rows, length, padded, per_batch, count,
    incoming_b, incoming_c, incoming_i, z_b, z_i, z_k, mask_b, mask_i, mask_k,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    real = channel < HIDDEN
    row = side * HIDDEN + channel
    values, value_bias = load_folded(weight, bias, scale, offset, row, real, HAS_BIAS, WIDTH, BLOCK_C, BLOCK_N)
    row += 2 * HIDDEN
    gates, gate_bias = load_folded(weight, bias, scale, offset, row, real, HAS_BIAS, WIDTH, BLOCK_C, BLOCK_N)
    value_along = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    gate_along = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    value_sum = tl.zeros([BLOCK_N], tl.float32)
    gate_sum = tl.zeros([BLOCK_N], tl.float32)
    for tile in range(tl.program_id(1), count, tl.num_programs(1)):
        batch = (tile // per_batch).to(tl.int64)
        i, k, inside = place(tile % per_batch, rows, length, padded, BLOCK_P)
        standard, _ = standardise(
            load_channels(z, batch * z_b + i * z_i + k * z_k, inside, 1, WIDTH, BLOCK_C), WIDTH, BLOCK_C
        )
        standard = standard.to(values.dtype)
        keep = tl.load(mask + batch * mask_b + i * mask_i + k * mask_k, mask=inside, other=0.0).to(tl.float32)[None, :]
        value = product(values, tl.trans(standard), tl.zeros([BLOCK_N, BLOCK_P], tl.float32)) + value_bias[:, None]
        gate = product(gates, tl.trans(standard), tl.zeros([BLOCK_N, BLOCK_P], tl.float32)) + gate_bias[:, None]
        grad = tl.load(
            incoming + channel.to(tl.int64)[:, None] * incoming_c + (batch * incoming_b + i * incoming_i + k)[None, :],
            mask=real[:, None] & inside[None, :], other=0.0,
        ).to(tl.float32)  # fmt: skip
        grad_value, grad_gate = ungate(grad, value, gate, keep)
        value_along = product(grad_value.to(values.dtype), standard, value_along)
        gate_along = product(grad_gate.to(values.dtype), standard, gate_along)
        value_sum += tl.sum(grad_value, axis=1)
        gate_sum += tl.sum(grad_gate, axis=1)
    line = tl.program_id(1) * 4 * HIDDEN
    row = side * HIDDEN + channel
    store_partial(partial, sums, value_along, value_sum, line, row, real, WIDTH, BLOCK_C)
    store_partial(partial, sums, gate_along, gate_sum, line, row + 2 * HIDDEN, real, WIDTH, BLOCK_C)


def gradients(
    left: Tensor, right: Tensor, z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None,
    mask: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of z (in its memory order), scale, offset, weight and bias, from those of both operands."""
    grad_z = empty_rows(z, z.shape[-1])
    rows, length = z.shape[-3:-1]
    # A library product returns the gradient of its transposed factor transposed; read so, every value would cost a
    # sector of 32 bytes.
    left, right, z, mask = planes(left), planes(right), pairs(z), mask.reshape(-1, rows, length)
    arguments = (z, scale, offset, weight, bias, mask)
    strides = (*z.stride()[:3], *mask.stride())
    constants = {**tile_constants(z.shape[-1], weight.shape[0] // 4), "HAS_BIAS": bias is not None}
    with torch.cuda.device_of(z):
        _launch_pairs(left, right, arguments, strides, dict(constants), grad_z)
        partial, sums = _launch_parameters(left, right, arguments, strides, dict(constants))
    grad_weight, grad_bias, grad_scale, grad_offset = projection_gradients(partial, sums, weight, (scale, offset))
    return grad_z, grad_scale.to(scale.dtype), grad_offset.to(offset.dtype), grad_weight, grad_bias


def _launch_pairs(
    left: Tensor, right: Tensor, arguments: Arguments, strides: tuple[int, ...], constants: dict[str, int],
    grad_z: Tensor,
) -> None:  # fmt: skip
    z = arguments[0]
    options = launch_options("triangle_operands_pairs", z, constants, "BLOCK_H")
    batch, rows, length, _ = z.shape
    # A view: its rows are dense, whatever their order.
    target = pairs(grad_z)
    pairs_kernel[(tiles(z, constants["BLOCK_P"]), batch)](
        left, right, *arguments, target, rows, length, padded_length(length), *left.stride()[:3], *right.stride()[:3],
        *strides, *target.stride()[:3], **constants, **options,
    )  # fmt: skip


def _launch_parameters(
    left: Tensor, right: Tensor, arguments: Arguments, strides: tuple[int, ...], constants: dict[str, int]
) -> tuple[Tensor, Tensor]:
    """Sums over positions, one line for each program that shares them."""
    z, _, _, weight, *_ = arguments
    options = launch_options("triangle_operands_parameters", z, constants, "BLOCK_H")
    batch, rows, length, _ = z.shape
    per_batch = tiles(z, constants["BLOCK_P"])
    programs = slices(batch * per_batch)
    partial = weight.new_empty((programs, *weight.shape), dtype=torch.float32)
    sums = weight.new_empty((programs, weight.shape[0]), dtype=torch.float32)
    for side, incoming in enumerate((left, right)):
        parameters_kernel[(triton.cdiv(constants["HIDDEN"], constants["BLOCK_N"]), programs)](
            incoming, *arguments, partial, sums, side, rows, length, padded_length(length), per_batch,
            batch * per_batch, *incoming.stride()[:3], *strides, **constants, **options,
        )  # fmt: skip
    return partial, sums


def specimens() -> list[Specimen]:
    """Every kernel, type, width and tile that ships."""
    found = specimens_of("triangle_operands pairs", pairs_kernel, PAIRS, PAIRS_SINGLE, "BLOCK_H")
    return found + specimens_of(
        "triangle_operands parameters", parameters_kernel, PARAMETERS, PARAMETERS_SINGLE, "BLOCK_H", "BLOCK_N"
    )
