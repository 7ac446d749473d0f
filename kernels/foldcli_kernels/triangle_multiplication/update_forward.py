"""Update of the pairs by a triangle product: both layer norms, projection and gate in one pass."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.matmul import matmul
from foldcli_kernels.triangle_multiplication.blocks import (
    load_bias_vector,
    load_normed_pairs,
    load_weight_rows,
    pair_indices,
)


@triton.jit(do_not_specialize=["rows"])
def triangle_update_forward(
    triangles,  # [b, c, i, k]: the triangle product
    z,  # [b, i, k, c_z]: pairs that it was made from
    center_scale, center_offset,  # [c]: layer norm of the product
    output, output_bias,  # [c_z, c], [c_z] or None: projection
    scale, offset,  # [c_z]: layer norm of the pairs
    gate, gate_bias,  # [c_z, c_z], [c_z] or None: gate
    out,  # [b, i, k, c_z]: written
    rows, length, padded,  # lengths of i and k, and that of k rounded up to a multiple of 16
    triangles_b, triangles_c, triangles_i, z_b, z_i, z_k, out_b, out_i, out_k,  # strides
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr,  # c_z and c
    BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,  # those rounded up to what a tile can have
    BLOCK_N: tl.constexpr,  # columns of a projection at once
    BLOCK_P: tl.constexpr,  # pairs of a program
    HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
    ADD: tl.constexpr,  # whether pairs and update are added
):  # fmt: skip
    """Write the update of BLOCK_P pairs, or the updated pairs."""
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = pair_indices(tl.program_id(0), rows, length, padded, BLOCK_P)
    source = batch * triangles_b + i * triangles_i + k
    centred = load_normed_pairs(triangles, source, inside, triangles_c, center_scale, center_offset, HIDDEN, BLOCK_H)
    normed = load_normed_pairs(z, batch * z_b + i * z_i + k * z_k, inside, 1, scale, offset, WIDTH, BLOCK_C)
    pairs = z + batch * z_b + i * z_i + k * z_k
    target = out + batch * out_b + i * out_i + k * out_k
    for start in range(0, WIDTH, BLOCK_N):
        channel = start + tl.arange(0, BLOCK_N)
        real = channel < WIDTH
        zero = tl.zeros([BLOCK_P, BLOCK_N], tl.float32)
        update = matmul(centred, tl.trans(load_weight_rows(output, channel, real, HIDDEN, BLOCK_H)), zero)
        update += load_bias_vector(output_bias, channel, real, HAS_BIAS, BLOCK_N)[None, :]
        logit = matmul(normed, tl.trans(load_weight_rows(gate, channel, real, WIDTH, BLOCK_C)), zero)
        logit += load_bias_vector(gate_bias, channel, real, HAS_GATE_BIAS, BLOCK_N)[None, :]
        result = update * tl.sigmoid(logit)
        exists = inside[:, None] & real[None, :]
        if ADD:  # read again, from a near cache
            result += tl.load(pairs[:, None] + channel[None, :], mask=exists, other=0.0).to(tl.float32)
        tl.store(target[:, None] + channel[None, :], result.to(out.dtype.element_ty), mask=exists)
