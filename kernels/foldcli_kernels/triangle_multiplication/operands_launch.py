"""Launches the kernels for the operands of a triangle product."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.shares import add_shares
from foldcli_kernels.tensors import empty_rows, one_batch
from foldcli_kernels.triangle_multiplication import operands_backward, operands_forward
from foldcli_kernels.triangle_multiplication.launch import (
    channel_planes,
    padded_length,
    programs_for,
    projection_gradients,
    tile_count,
)
from foldcli_kernels.triangle_multiplication.tiles import launch_options, tile_constants

# z, scale, offset, weight, bias, mask
Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]


def empty_operand(z: Tensor, hidden: int) -> Tensor:
    """Return an empty tensor for one operand, [*b, c, i, k] in which rows start at multiples of 16 elements.

    The library's matrix products need rows at multiples of 16 bytes for their fast paths, and most lengths are none.
    """
    *batch, rows, length, _ = z.shape
    return z.new_empty((*batch, hidden, rows, padded_length(length)))[..., :length]


def launch_forward(
    z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both operands [*b, c, i, k]."""
    hidden, (rows, length) = weight.shape[0] // 4, z.shape[-3:-1]
    left, right = empty_operand(z, hidden), empty_operand(z, hidden)
    z, mask = one_batch(z), mask.reshape(-1, rows, length)
    constants = tile_constants(z.shape[-1], hidden)
    options = launch_options("triangle_operands", z, constants, "BLOCK_H")
    padded = padded_length(length)
    with torch.cuda.device_of(z):
        operands_forward.triangle_operands_forward[(tile_count(z, constants["BLOCK_P"]), z.shape[0])](
            z, scale, offset, weight, bias, mask, left, right, rows, length, padded,
            *z.stride()[:3], *mask.stride(), rows * padded,
            **constants, HAS_BIAS=bias is not None, **options,
        )  # fmt: skip
    return left, right


def launch_backward(
    left: Tensor, right: Tensor, z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None,
    mask: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the gradient of z (in its memory order), and what `projection_gradients` returns."""
    grad_z = empty_rows(z, z.shape[-1])
    rows, length = z.shape[-3:-1]
    # torch.matmul returns the gradient of a transposed factor transposed; read like that, every value would cost a
    # memory sector of 32 bytes.
    left, right, z, mask = channel_planes(left), channel_planes(right), one_batch(z), mask.reshape(-1, rows, length)
    arguments = (z, scale, offset, weight, bias, mask)
    strides = (*z.stride()[:3], *mask.stride())
    constants = {**tile_constants(z.shape[-1], weight.shape[0] // 4), "HAS_BIAS": bias is not None}
    with torch.cuda.device_of(z):
        _launch_input(left, right, arguments, strides, dict(constants), grad_z)
        shares = _launch_weights(left, right, arguments, strides, dict(constants))
    return grad_z, projection_gradients(add_shares(shares, torch.float32), weight, scale, offset)


def _launch_input(
    left: Tensor, right: Tensor, arguments: Arguments, strides: tuple[int, ...], constants: dict[str, int],
    grad_z: Tensor,
) -> None:  # fmt: skip
    z = arguments[0]
    options = launch_options("triangle_operands_pairs", z, constants, "BLOCK_H")
    batch, rows, length, _ = z.shape
    # A view, since its rows are dense in any memory order.
    target = one_batch(grad_z)
    operands_backward.triangle_operands_backward_input[(tile_count(z, constants["BLOCK_P"]), batch)](
        left, right, *arguments, target, rows, length, padded_length(length), *left.stride()[:3], *right.stride()[:3],
        *strides, *target.stride()[:3], **constants, **options,
    )  # fmt: skip


def _launch_weights(
    left: Tensor, right: Tensor, arguments: Arguments, strides: tuple[int, ...], constants: dict[str, int]
) -> tuple[Tensor, Tensor]:
    """Return sums over positions, one row of partial sums for each program."""
    z, _, _, weight, *_ = arguments
    options = launch_options("triangle_operands_parameters", z, constants, "BLOCK_H")
    batch, rows, length, _ = z.shape
    per_batch = tile_count(z, constants["BLOCK_P"])
    columns = triton.cdiv(constants["HIDDEN"], constants["BLOCK_N"])
    programs = programs_for(batch * per_batch, columns)
    partial = weight.new_empty((programs, *weight.shape), dtype=torch.float32)
    sums = weight.new_empty((programs, weight.shape[0]), dtype=torch.float32)
    for side, incoming in enumerate((left, right)):
        operands_backward.triangle_operands_backward_weights[(columns, programs)](
            incoming, *arguments, partial, sums, side, rows, length, padded_length(length), per_batch,
            batch * per_batch, *incoming.stride()[:3], *strides, **constants, **options,
        )  # fmt: skip
    return partial, sums
