"""Launches the kernels for the update by a triangle product."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.shares import add_shares
from foldcli_kernels.tensors import empty_rows, one_batch
from foldcli_kernels.triangle_multiplication import update_backward, update_forward
from foldcli_kernels.triangle_multiplication.launch import (
    channel_planes,
    padded_length,
    programs_for,
    projection_gradients,
    tile_count,
)
from foldcli_kernels.triangle_multiplication.tiles import launch_options, tile_constants

Norm = tuple[Tensor, Tensor]
Dense = tuple[Tensor, Tensor | None]


def launch_forward(
    triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
    add: bool = False,
) -> Tensor:  # fmt: skip
    """Return the update of the pairs, in the memory order of z; add: the updated pairs instead."""
    out = empty_rows(z, z.shape[-1])
    # one_batch(out) is a view, since its rows are dense in any memory order.
    triangles, z, target = channel_planes(triangles), one_batch(z), one_batch(out)
    batch, rows, length, width = z.shape
    constants = tile_constants(width, triangles.shape[1])
    options = launch_options("triangle_update", z, constants)
    with torch.cuda.device_of(z):
        update_forward.triangle_update_forward[(tile_count(z, constants["BLOCK_P"]), batch)](
            triangles, z, center_scale, center_offset, output, output_bias, scale, offset, gate, gate_bias, target,
            rows, length, padded_length(length), *triangles.stride()[:3], *z.stride()[:3], *target.stride()[:3],
            **constants, HAS_BIAS=output_bias is not None, HAS_GATE_BIAS=gate_bias is not None, ADD=add, **options,
        )  # fmt: skip
    return out


def launch_backward(
    grad: Tensor, triangles: Tensor, z: Tensor, center: Norm, output: Dense, norm: Norm, gate: Dense
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of triangles and z, and what `projection_gradients` returns for the output and the gate."""
    grad_triangles, grad_z = triangles.new_empty(triangles.shape), empty_rows(z, z.shape[-1])
    triangles, z = channel_planes(triangles), one_batch(z)
    arguments = (one_batch(grad), triangles, z, *center, *output, *norm, *gate)
    strides = (*arguments[0].stride()[:3], *triangles.stride()[:3], *z.stride()[:3])
    flags = {"HAS_BIAS": output[1] is not None, "HAS_GATE_BIAS": gate[1] is not None}
    with torch.cuda.device_of(z):
        _launch_input(arguments, strides, flags, channel_planes(grad_triangles), one_batch(grad_z))
        outputs, gates = _launch_weights(arguments, strides, flags)
    sums = add_shares([*outputs, *gates], torch.float32)
    of_output = projection_gradients(sums, output[0], *center)
    of_gate = projection_gradients(sums[output[0].numel() + len(output[0]) :], gate[0], *norm)
    return grad_triangles, grad_z, of_output, of_gate


def _launch_input(
    arguments: tuple[Tensor | None, ...], strides: tuple[int, ...], flags: dict[str, bool], to: Tensor, out: Tensor
) -> None:
    constants = tile_constants(out.shape[-1], to.shape[1])
    options = launch_options("triangle_update_pairs", out, constants)
    batch, rows, length, _ = out.shape
    update_backward.triangle_update_backward_input[(tile_count(out, constants["BLOCK_P"]), batch)](
        *arguments, to, out, rows, length, padded_length(length), *strides, *to.stride()[:3], *out.stride()[:3],
        **constants, **flags, **options,
    )  # fmt: skip


def _launch_weights(
    arguments: tuple[Tensor | None, ...], strides: tuple[int, ...], flags: dict[str, bool]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return sums over positions for output projection and gate, one row of partial sums for each program."""
    _, triangles, z, *_ = arguments
    assert triangles is not None
    assert z is not None
    batch, rows, length, width = z.shape
    constants = tile_constants(width, triangles.shape[1])
    options = launch_options("triangle_update_parameters", z, constants)
    per_batch = tile_count(z, constants["BLOCK_P"])
    columns = triton.cdiv(width, constants["BLOCK_N"])
    programs = programs_for(batch * per_batch, columns)
    outputs, gates = (
        (
            z.new_empty((programs, width, channels), dtype=torch.float32),
            z.new_empty((programs, width), dtype=torch.float32),
        )
        for channels in (triangles.shape[1], width)
    )
    update_backward.triangle_update_backward_weights[(columns, programs)](
        *arguments, *outputs, *gates, rows, length, padded_length(length), per_batch, batch * per_batch,
        *strides, **constants, **flags, **options,
    )  # fmt: skip
    return outputs, gates
