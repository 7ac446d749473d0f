"""Gradients of the update of the pairs by a triangle product; update and gate are computed again.

As for the operands there is one kernel for what varies with the pairs and one for the parameters, and neither writes an
intermediate: stored gradients of update and gate would be two more pair tensors, written once and read twice.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import standardise
from foldcli_kernels.matmul import TF32X3, matmul
from foldcli_kernels.triangle_multiplication.blocks import (
    load_bias_vector,
    load_folded_weight,
    load_normed_pairs,
    load_pairs,
    load_weight_rows,
    pair_indices,
    store_pair_gradient,
    store_weight_share,
)


@triton.jit(do_not_specialize=["rows"])
def triangle_update_backward_input(
    grad,  # [b, i, k, c_z]: gradient of the update
    triangles,  # [b, c, i, k]: the triangle product
    z,  # [b, i, k, c_z]: pairs that it was made from
    center_scale, center_offset,  # [c]: layer norm of the product
    output, output_bias,  # [c_z, c], [c_z] or None: projection
    scale, offset,  # [c_z]: layer norm of the pairs
    gate, gate_bias,  # [c_z, c_z], [c_z] or None: gate
    grad_triangles, grad_z,  # as triangles and z: written
    rows, length, padded,  # lengths of i and k, and that of k rounded up to a multiple of 16
    grad_b, grad_i, grad_k, triangles_b, triangles_c, triangles_i, z_b, z_i, z_k,  # strides
    to_b, to_c, to_i, out_b, out_i, out_k,  # those of grad_triangles and grad_z
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr,  # c_z and c
    BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,  # those rounded up to what a tile can have
    BLOCK_N: tl.constexpr,  # columns of a projection at once
    BLOCK_P: tl.constexpr,  # pairs of a program
    HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    """Write the gradients of BLOCK_P pairs and of the product there."""
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = pair_indices(tl.program_id(0), rows, length, padded, BLOCK_P)
    from_triangles = batch * triangles_b + i * triangles_i + k
    from_z = batch * z_b + i * z_i + k * z_k
    centred = load_normed_pairs(
        triangles, from_triangles, inside, triangles_c, center_scale, center_offset, HIDDEN, BLOCK_H
    )
    normed = load_normed_pairs(z, from_z, inside, 1, scale, offset, WIDTH, BLOCK_C)
    incoming = grad + batch * grad_b + i * grad_i + k * grad_k
    center_total = tl.zeros([BLOCK_P, BLOCK_H], tl.float32)
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for start in range(0, WIDTH, BLOCK_N):
        channel = start + tl.arange(0, BLOCK_N)
        real = channel < WIDTH
        zero = tl.zeros([BLOCK_P, BLOCK_N], tl.float32)
        outputs = load_weight_rows(output, channel, real, HIDDEN, BLOCK_H)
        gates = load_weight_rows(gate, channel, real, WIDTH, BLOCK_C)
        update = matmul(centred, tl.trans(outputs), zero)
        update += load_bias_vector(output_bias, channel, real, HAS_BIAS, BLOCK_N)[None, :]
        logit = matmul(normed, tl.trans(gates), zero)
        opened = tl.sigmoid(logit + load_bias_vector(gate_bias, channel, real, HAS_GATE_BIAS, BLOCK_N)[None, :])
        slope = tl.load(incoming[:, None] + channel[None, :], mask=inside[:, None] & real[None, :], other=0.0)
        grad_update = slope.to(tl.float32) * opened
        center_total = matmul(grad_update.to(outputs.dtype), outputs, center_total)
        total = matmul((grad_update * update * (1.0 - opened)).to(gates.dtype), gates, total)
    store_pair_gradient(
        triangles, from_triangles, inside, triangles_c, center_total, center_scale,
        grad_triangles, batch * to_b + i * to_i + k, to_c, HIDDEN, BLOCK_H,
    )  # fmt: skip
    store_pair_gradient(
        z, from_z, inside, 1, total, scale, grad_z, batch * out_b + i * out_i + k * out_k, 1, WIDTH, BLOCK_C
    )


@triton.jit(do_not_specialize=["rows", "per_batch", "count"])
def triangle_update_backward_weights(
    grad,  # [b, i, k, c_z]: gradient of the update
    triangles,  # [b, c, i, k]: the triangle product
    z,  # [b, i, k, c_z]: pairs that it was made from
    center_scale, center_offset,  # [c]: layer norm of the product
    output, output_bias,  # [c_z, c], [c_z] or None: projection
    scale, offset,  # [c_z]: layer norm of the pairs
    gate, gate_bias,  # [c_z, c_z], [c_z] or None: gate
    output_partial, output_sums,  # [programs, c_z, c], [programs, c_z] float32: written, sums for the projection
    gate_partial, gate_sums,  # [programs, c_z, c_z], [programs, c_z] float32: those for the gate
    rows, length, padded,  # lengths of i and k, and that of k rounded up to a multiple of 16
    per_batch, count,  # tiles of pairs in one batch entry, and in all
    grad_b, grad_i, grad_k, triangles_b, triangles_c, triangles_i, z_b, z_i, z_k,  # strides
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr,  # c_z and c
    BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,  # those rounded up to what a tile can have
    BLOCK_N: tl.constexpr,  # columns of a projection of a program
    BLOCK_P: tl.constexpr,  # pairs at once
    HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    """Sum BLOCK_N rows of both weights' gradients over every n-th tile of pairs, n programs in all."""
    channel = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    real = channel < WIDTH
    outputs, output_shift = load_folded_weight(
        output, output_bias, center_scale, center_offset, channel, real, HAS_BIAS, HIDDEN, BLOCK_H, BLOCK_N
    )
    gates, gate_shift = load_folded_weight(
        gate, gate_bias, scale, offset, channel, real, HAS_GATE_BIAS, WIDTH, BLOCK_C, BLOCK_N
    )
    output_along = tl.zeros([BLOCK_N, BLOCK_H], tl.float32)
    gate_along = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    output_sum = tl.zeros([BLOCK_N], tl.float32)
    gate_sum = tl.zeros([BLOCK_N], tl.float32)
    for tile in range(tl.program_id(1), count, tl.num_programs(1)):
        batch = (tile // per_batch).to(tl.int64)
        i, k, inside = pair_indices(tile % per_batch, rows, length, padded, BLOCK_P)
        zero = tl.zeros([BLOCK_N, BLOCK_P], tl.float32)
        source = batch * triangles_b + i * triangles_i + k
        centred, _ = standardise(load_pairs(triangles, source, inside, triangles_c, HIDDEN, BLOCK_H), HIDDEN, BLOCK_H)
        centred = centred.to(outputs.dtype)
        update = matmul(outputs, tl.trans(centred), zero, TF32X3) + output_shift[:, None]
        standard, _ = standardise(
            load_pairs(z, batch * z_b + i * z_i + k * z_k, inside, 1, WIDTH, BLOCK_C), WIDTH, BLOCK_C
        )
        standard = standard.to(gates.dtype)
        opened = tl.sigmoid(matmul(gates, tl.trans(standard), zero, TF32X3) + gate_shift[:, None])
        incoming = grad + (batch * grad_b + i * grad_i + k * grad_k)[None, :] + channel[:, None]
        slope = tl.load(incoming, mask=real[:, None] & inside[None, :], other=0.0).to(tl.float32)
        grad_update = slope * opened
        grad_gate = grad_update * update * (1.0 - opened)
        # IEEE: with TF32X3 here too, 128 channels spill registers
        output_along = matmul(grad_update.to(outputs.dtype), centred, output_along)
        gate_along = matmul(grad_gate.to(gates.dtype), standard, gate_along, TF32X3)
        output_sum += tl.sum(grad_update, axis=1)
        gate_sum += tl.sum(grad_gate, axis=1)
    line = tl.program_id(1) * WIDTH
    store_weight_share(output_partial, output_sums, output_along, output_sum, line, channel, real, HIDDEN, BLOCK_H)
    store_weight_share(gate_partial, gate_sums, gate_along, gate_sum, line, channel, real, WIDTH, BLOCK_C)
