"""Gradients of the operands of a triangle product; values and gates are computed again from the pairs.

Two kernels, one for the pairs and one for the parameters, each with its own recomputation: 524,288 FLOPs a pair at 128
channels and 2.3 KB of traffic, where a stored gradient of the projection (512 channels a pair, four pair tensors) and
library products would take 393,216 FLOPs and 3.8 KB, which is more time and much more memory.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import standardise
from foldcli_kernels.matmul import matmul
from foldcli_kernels.triangle_multiplication.blocks import (
    gate_gradients,
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
def triangle_operands_backward_input(
    left, right,  # [b, c, i, k]: gradients of both operands
    z,  # [b, i, k, c_z]: pairs
    scale, offset,  # [c_z]: of the layer norm
    weight, bias,  # [4 c, c_z], [4 c] or None: left and right values, left and right gates
    mask,  # [b, i, k]
    grad_z,  # [b, i, k, c_z]: written
    rows, length, padded,  # lengths of i and k, and that of k rounded up to a multiple of 16
    left_b, left_c, left_i, right_b, right_c, right_i, z_b, z_i, z_k, mask_b, mask_i, mask_k,  # strides
    grad_b, grad_i, grad_k,  # those of grad_z
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr,  # c_z and c
    BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,  # those rounded up to what a tile can have
    BLOCK_N: tl.constexpr,  # columns of a projection at once
    BLOCK_P: tl.constexpr,  # pairs of a program
    HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Write the gradient of BLOCK_P pairs."""
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = pair_indices(tl.program_id(0), rows, length, padded, BLOCK_P)
    source = batch * z_b + i * z_i + k * z_k
    normed = load_normed_pairs(z, source, inside, 1, scale, offset, WIDTH, BLOCK_C)
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
            values = load_weight_rows(weight, row, real, WIDTH, BLOCK_C)
            gates = load_weight_rows(weight, row + 2 * HIDDEN, real, WIDTH, BLOCK_C)
            value = matmul(normed, tl.trans(values), tl.zeros([BLOCK_P, BLOCK_N], tl.float32))
            value += load_bias_vector(bias, row, real, HAS_BIAS, BLOCK_N)[None, :]
            gate = matmul(normed, tl.trans(gates), tl.zeros([BLOCK_P, BLOCK_N], tl.float32))
            gate += load_bias_vector(bias, row + 2 * HIDDEN, real, HAS_BIAS, BLOCK_N)[None, :]
            incoming = tl.load(
                grad[:, None] + channel.to(tl.int64)[None, :] * step, mask=inside[:, None] & real[None, :], other=0.0
            ).to(tl.float32)
            grad_value, grad_gate = gate_gradients(incoming, value, gate, keep)
            total = matmul(grad_value.to(values.dtype), values, total)
            total = matmul(grad_gate.to(gates.dtype), gates, total)
    target = batch * grad_b + i * grad_i + k * grad_k
    store_pair_gradient(z, source, inside, 1, total, scale, grad_z, target, 1, WIDTH, BLOCK_C)


@triton.jit(do_not_specialize=["side", "rows", "per_batch", "count"])
def triangle_operands_backward_weights(
    incoming,  # [b, c, i, k]: gradient of one operand
    z,  # [b, i, k, c_z]: pairs
    scale, offset,  # [c_z]: of the layer norm
    weight, bias,  # [4 c, c_z], [4 c] or None: left and right values, left and right gates
    mask,  # [b, i, k]
    partial,  # [programs, 4 c, c_z] float32: written, sums over pairs of gradients of values and gates times inputs
    sums,  # [programs, 4 c] float32: written, sums of those gradients
    side,  # 0 for the left operand, 1 for the right
    rows, length, padded,  # lengths of i and k, and that of k rounded up to a multiple of 16
    per_batch, count,  # tiles of pairs in one batch entry, and in all
    incoming_b, incoming_c, incoming_i, z_b, z_i, z_k, mask_b, mask_i, mask_k,  # strides
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr,  # c_z and c
    BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,  # those rounded up to what a tile can have
    BLOCK_N: tl.constexpr,  # columns of a projection of a program
    BLOCK_P: tl.constexpr,  # pairs at once
    HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Sum BLOCK_N rows of the weight's gradient over every n-th tile of pairs, n programs in all."""
    channel = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    real = channel < HIDDEN
    row = side * HIDDEN + channel
    values, value_bias = load_folded_weight(weight, bias, scale, offset, row, real, HAS_BIAS, WIDTH, BLOCK_C, BLOCK_N)
    row += 2 * HIDDEN
    gates, gate_bias = load_folded_weight(weight, bias, scale, offset, row, real, HAS_BIAS, WIDTH, BLOCK_C, BLOCK_N)
    value_along = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    gate_along = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    value_sum = tl.zeros([BLOCK_N], tl.float32)
    gate_sum = tl.zeros([BLOCK_N], tl.float32)
    for tile in range(tl.program_id(1), count, tl.num_programs(1)):
        batch = (tile // per_batch).to(tl.int64)
        i, k, inside = pair_indices(tile % per_batch, rows, length, padded, BLOCK_P)
        standard, _ = standardise(
            load_pairs(z, batch * z_b + i * z_i + k * z_k, inside, 1, WIDTH, BLOCK_C), WIDTH, BLOCK_C
        )
        standard = standard.to(values.dtype)
        keep = tl.load(mask + batch * mask_b + i * mask_i + k * mask_k, mask=inside, other=0.0).to(tl.float32)[None, :]
        value = matmul(values, tl.trans(standard), tl.zeros([BLOCK_N, BLOCK_P], tl.float32)) + value_bias[:, None]
        gate = matmul(gates, tl.trans(standard), tl.zeros([BLOCK_N, BLOCK_P], tl.float32)) + gate_bias[:, None]
        grad = tl.load(
            incoming + channel.to(tl.int64)[:, None] * incoming_c + (batch * incoming_b + i * incoming_i + k)[None, :],
            mask=real[:, None] & inside[None, :], other=0.0,
        ).to(tl.float32)  # fmt: skip
        grad_value, grad_gate = gate_gradients(grad, value, gate, keep)
        value_along = matmul(grad_value.to(values.dtype), standard, value_along)
        gate_along = matmul(grad_gate.to(values.dtype), standard, gate_along)
        value_sum += tl.sum(grad_value, axis=1)
        gate_sum += tl.sum(grad_gate, axis=1)
    line = tl.program_id(1) * 4 * HIDDEN
    row = side * HIDDEN + channel
    store_weight_share(partial, sums, value_along, value_sum, line, row, real, WIDTH, BLOCK_C)
    store_weight_share(partial, sums, gate_along, gate_sum, line, row + 2 * HIDDEN, real, WIDTH, BLOCK_C)
