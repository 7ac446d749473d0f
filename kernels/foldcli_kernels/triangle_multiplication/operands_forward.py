"""Operands of a triangle product: layer norm, gated dual projection and mask in one pass over the pairs."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.matmul import TF32X3, matmul
from foldcli_kernels.triangle_multiplication.blocks import (
    load_bias_vector,
    load_normed_pairs,
    load_weight_rows,
    pair_indices,
)


@triton.jit(do_not_specialize=["rows"])
def triangle_operands_forward(
    z,  # [b, i, k, c_z]: pairs
    scale, offset,  # [c_z]: of the layer norm
    weight, bias,  # [4 c, c_z], [4 c] or None: left and right values, left and right gates
    mask,  # [b, i, k]
    left, right,  # [b, c, i, padded]: written, channel-major
    rows, length, padded,  # lengths of i and k, and that of k rounded up to a multiple of 16
    z_b, z_i, z_k, mask_b, mask_i, mask_k,  # strides
    plane,  # entries of one channel of an operand, i * padded
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr,  # c_z and c
    BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,  # those rounded up to what a tile can have
    BLOCK_N: tl.constexpr,  # columns of a projection at once
    BLOCK_P: tl.constexpr,  # pairs of a program
    HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Write both operands of BLOCK_P pairs."""
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = pair_indices(tl.program_id(0), rows, length, padded, BLOCK_P)
    normed = load_normed_pairs(z, batch * z_b + i * z_i + k * z_k, inside, 1, scale, offset, WIDTH, BLOCK_C)
    # Zero outside, so that the operands' padding is zero too.
    keep = tl.load(mask + batch * mask_b + i * mask_i + k * mask_k, mask=inside, other=0.0).to(tl.float32)
    position = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    for side in tl.static_range(2):
        out = (left if side == 0 else right) + batch * HIDDEN * plane
        for start in range(0, HIDDEN, BLOCK_N):
            channel = start + tl.arange(0, BLOCK_N)
            real = channel < HIDDEN
            row = side * HIDDEN + channel
            zero = tl.zeros([BLOCK_N, BLOCK_P], tl.float32)
            value = (
                matmul(load_weight_rows(weight, row, real, WIDTH, BLOCK_C), tl.trans(normed), zero, TF32X3)
                + load_bias_vector(bias, row, real, HAS_BIAS, BLOCK_N)[:, None]
            )
            row += 2 * HIDDEN
            gate = (
                matmul(load_weight_rows(weight, row, real, WIDTH, BLOCK_C), tl.trans(normed), zero, TF32X3)
                + load_bias_vector(bias, row, real, HAS_BIAS, BLOCK_N)[:, None]
            )
            result = (value * tl.sigmoid(gate) * keep[None, :]).to(left.dtype.element_ty)
            tl.store(
                out + channel.to(tl.int64)[:, None] * plane + position[None, :],
                result,
                mask=real[:, None] & (position < plane)[None, :],
            )
