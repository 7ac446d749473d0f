"""Gradients of the update of the pairs by a triangle product; update and gate are computed again.

Like those of the operands: one kernel for what varies with the pairs and one for the parameters, neither of which
writes an intermediate; stored gradients of update and gate would be two more pair tensors, written once and read twice.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.layer_norm_rows import empty_rows, standardise, standardise_backward
from foldcli_kernels.specimen import Specimen
from foldcli_kernels.triangle_tiles import (
    SPLIT,
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

PAIRS = [
    {"block_p": p, "block_n": 32, "num_warps": w, "num_stages": s} for p, w, s in [(64, 8, 2), (64, 8, 3), (32, 4, 2)]
]
# The second takes Hopper's matrix instructions, and spills on older devices, so that only tuning may choose it.
PARAMETERS = [{"block_p": p, "block_n": n, "num_warps": 8, "num_stages": 2} for p, n in [(64, 16), (32, 64)]]
PAIRS_SINGLE = {"block_p": 16, "block_n": 16, "num_warps": 4, "num_stages": 2}
PARAMETERS_SINGLE = {"block_p": 32, "block_n": 16, "num_warps": 8, "num_stages": 2}
declare_widths("triangle_update_pairs", PAIRS, PAIRS_SINGLE)
declare_widths("triangle_update_parameters", PARAMETERS, PARAMETERS_SINGLE)
Norm = tuple[Tensor, Tensor]
Dense = tuple[Tensor, Tensor | None]


@triton.jit
def store_backward(
    x, start, inside, step, total, scale, to, target, to_step, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """End a tile: from the gradient of its layer norm's result to that of its input x, which is read again."""
    standard, reciprocal = standardise(load_channels(x, start, inside, step, WIDTH, BLOCK), WIDTH, BLOCK)
    result = standardise_backward(total * load_vector(scale, WIDTH, BLOCK)[None, :], standard, reciprocal, WIDTH)
    channel = tl.arange(0, BLOCK)
    tl.store(
        to + target[:, None] + (channel.to(tl.int64) * to_step)[None, :],
        result.to(to.dtype.element_ty),
        mask=inside[:, None] & (channel < WIDTH)[None, :],
    )


@triton.jit
def pairs_kernel(
    grad, triangles, z, center_scale, center_offset, output, output_bias, scale, offset, gate, gate_bias,
    grad_triangles, grad_z, rows, length, padded, grad_b, grad_i, grad_k, triangles_b, triangles_c, triangles_i,
    z_b, z_i, z_k, to_b, to_c, to_i, out_b, out_i, out_k,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = place(tl.program_id(0), rows, length, padded, BLOCK_P)
    from_triangles = batch * triangles_b + i * triangles_i + k
    from_z = batch * z_b + i * z_i + k * z_k
    centred = load_normed(triangles, from_triangles, inside, triangles_c, center_scale, center_offset, HIDDEN, BLOCK_H)
    normed = load_normed(z, from_z, inside, 1, scale, offset, WIDTH, BLOCK_C)
    incoming = grad + batch * grad_b + i * grad_i + k * grad_k
    center_total = tl.zeros([BLOCK_P, BLOCK_H], tl.float32)
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for start in range(0, WIDTH, BLOCK_N):
        channel = start + tl.arange(0, BLOCK_N)
        real = channel < WIDTH
        zero = tl.zeros([BLOCK_P, BLOCK_N], tl.float32)
        outputs = load_rows(output, channel, real, HIDDEN, BLOCK_H)
        gates = load_rows(gate, channel, real, WIDTH, BLOCK_C)
        update = product(centred, tl.trans(outputs), zero)
        update += load_bias(output_bias, channel, real, HAS_BIAS, BLOCK_N)[None, :]
        logit = product(normed, tl.trans(gates), zero)
        opened = tl.sigmoid(logit + load_bias(gate_bias, channel, real, HAS_GATE_BIAS, BLOCK_N)[None, :])
        slope = tl.load(incoming[:, None] + channel[None, :], mask=inside[:, None] & real[None, :], other=0.0)
        grad_update = slope.to(tl.float32) * opened
        center_total = product(grad_update.to(outputs.dtype), outputs, center_total)
        total = product((grad_update * update * (1.0 - opened)).to(gates.dtype), gates, total)
    store_backward(
        triangles, from_triangles, inside, triangles_c, center_total, center_scale,
        grad_triangles, batch * to_b + i * to_i + k, to_c, HIDDEN, BLOCK_H,
    )  # fmt: skip
    store_backward(z, from_z, inside, 1, total, scale, grad_z, batch * out_b + i * out_i + k * out_k, 1, WIDTH, BLOCK_C)


@triton.jit
def parameters_kernel(
    grad, triangles, z, center_scale, center_offset, output, output_bias, scale, offset, gate, gate_bias,
    output_partial, output_sums, gate_partial, gate_sums, rows, length, padded, per_batch, count,
    grad_b, grad_i, grad_k, triangles_b, triangles_c, triangles_i, z_b, z_i, z_k,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    real = channel < WIDTH
    outputs, output_shift = load_folded(
        output, output_bias, center_scale, center_offset, channel, real, HAS_BIAS, HIDDEN, BLOCK_H, BLOCK_N
    )
    gates, gate_shift = load_folded(
        gate, gate_bias, scale, offset, channel, real, HAS_GATE_BIAS, WIDTH, BLOCK_C, BLOCK_N
    )
    output_along = tl.zeros([BLOCK_N, BLOCK_H], tl.float32)
    gate_along = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    output_sum = tl.zeros([BLOCK_N], tl.float32)
    gate_sum = tl.zeros([BLOCK_N], tl.float32)
    for tile in range(tl.program_id(1), count, tl.num_programs(1)):
        batch = (tile // per_batch).to(tl.int64)
        i, k, inside = place(tile % per_batch, rows, length, padded, BLOCK_P)
        zero = tl.zeros([BLOCK_N, BLOCK_P], tl.float32)
        source = batch * triangles_b + i * triangles_i + k
        centred, _ = standardise(
            load_channels(triangles, source, inside, triangles_c, HIDDEN, BLOCK_H), HIDDEN, BLOCK_H
        )
        centred = centred.to(outputs.dtype)
        update = product(outputs, tl.trans(centred), zero, SPLIT) + output_shift[:, None]
        standard, _ = standardise(
            load_channels(z, batch * z_b + i * z_i + k * z_k, inside, 1, WIDTH, BLOCK_C), WIDTH, BLOCK_C
        )
        standard = standard.to(gates.dtype)
        opened = tl.sigmoid(product(gates, tl.trans(standard), zero, SPLIT) + gate_shift[:, None])
        incoming = grad + (batch * grad_b + i * grad_i + k * grad_k)[None, :] + channel[:, None]
        slope = tl.load(incoming, mask=real[:, None] & inside[None, :], other=0.0).to(tl.float32)
        grad_update = slope * opened
        grad_gate = grad_update * update * (1.0 - opened)
        output_along = product(grad_update.to(outputs.dtype), centred, output_along, SPLIT)
        gate_along = product(grad_gate.to(gates.dtype), standard, gate_along, SPLIT)
        output_sum += tl.sum(grad_update, axis=1)
        gate_sum += tl.sum(grad_gate, axis=1)
    line = tl.program_id(1) * WIDTH
    store_partial(output_partial, output_sums, output_along, output_sum, line, channel, real, HIDDEN, BLOCK_H)
    store_partial(gate_partial, gate_sums, gate_along, gate_sum, line, channel, real, WIDTH, BLOCK_C)


def gradients(
    grad: Tensor, triangles: Tensor, z: Tensor, center: Norm, output: Dense, norm: Norm, gate: Dense
) -> list[Tensor]:
    """Gradients of all tensors in the order of the operator, biases always among them; that of z in its order."""
    grad_triangles, grad_z = triangles.new_empty(triangles.shape), empty_rows(z, z.shape[-1])
    triangles, z = planes(triangles), pairs(z)
    arguments = (pairs(grad), triangles, z, *center, *output, *norm, *gate)
    strides = (*arguments[0].stride()[:3], *triangles.stride()[:3], *z.stride()[:3])
    flags = {"HAS_BIAS": output[1] is not None, "HAS_GATE_BIAS": gate[1] is not None}
    with torch.cuda.device_of(z):
        _launch_pairs(arguments, strides, flags, planes(grad_triangles), pairs(grad_z))
        outputs, gates = _launch_parameters(arguments, strides, flags)
    grad_output, grad_bias, *grad_center = projection_gradients(*outputs, output[0], center)
    grad_gate, grad_gate_bias, *grad_norm = projection_gradients(*gates, gate[0], norm)
    return [
        grad_triangles, grad_z, *(x.to(center[0].dtype) for x in grad_center), grad_output, grad_bias,
        *(x.to(norm[0].dtype) for x in grad_norm), grad_gate, grad_gate_bias,
    ]  # fmt: skip


def _launch_pairs(
    arguments: tuple[Tensor | None, ...], strides: tuple[int, ...], flags: dict[str, bool], to: Tensor, out: Tensor
) -> None:
    constants = tile_constants(out.shape[-1], to.shape[1])
    options = launch_options("triangle_update_pairs", out, constants)
    batch, rows, length, _ = out.shape
    pairs_kernel[(tiles(out, constants["BLOCK_P"]), batch)](
        *arguments, to, out, rows, length, padded_length(length), *strides, *to.stride()[:3], *out.stride()[:3],
        **constants, **flags, **options,
    )  # fmt: skip


def _launch_parameters(
    arguments: tuple[Tensor | None, ...], strides: tuple[int, ...], flags: dict[str, bool]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Sums over positions for output projection and gate, one line for each program that shares them."""
    _, triangles, z, *_ = arguments
    assert triangles is not None
    assert z is not None
    batch, rows, length, width = z.shape
    constants = tile_constants(width, triangles.shape[1])
    options = launch_options("triangle_update_parameters", z, constants)
    per_batch = tiles(z, constants["BLOCK_P"])
    programs = slices(batch * per_batch)
    outputs, gates = (
        (
            z.new_empty((programs, width, channels), dtype=torch.float32),
            z.new_empty((programs, width), dtype=torch.float32),
        )
        for channels in (triangles.shape[1], width)
    )
    parameters_kernel[(triton.cdiv(width, constants["BLOCK_N"]), programs)](
        *arguments, *outputs, *gates, rows, length, padded_length(length), per_batch, batch * per_batch,
        *strides, **constants, **flags, **options,
    )  # fmt: skip
    return outputs, gates


def specimens() -> list[Specimen]:
    """Every kernel, type, width and tile that ships."""
    found = specimens_of("triangle_update pairs", pairs_kernel, PAIRS, PAIRS_SINGLE)
    for options, capabilities in ((PARAMETERS[:1], (80, 90)), (PARAMETERS[1:], (90,))):
        found += specimens_of(
            "triangle_update parameters", parameters_kernel, options, PARAMETERS_SINGLE, "BLOCK_C", "BLOCK_N",
            capabilities,
        )  # fmt: skip
    return found
