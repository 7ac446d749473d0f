"""Layer norm, a wider layer, a rectifier and a layer back: hidden channels are made and used up a tile at a time.

With an update the whole ends a block: x and the projected update are added first, and the transition to their sum.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import load_normed_rows, normalise, row_statistics
from foldcli_kernels.matmul import matmul, sliced_matmul
from foldcli_kernels.residual import add_projected
from foldcli_kernels.tensors import row_offset


@triton.jit(do_not_specialize=["rows"])
def transition_forward(
    x,  # [rows, c]: channels side by side
    scale, offset,  # [c]: of the layer norm
    expand, expand_bias,  # [h, c], [h] or None
    contract, contract_bias,  # [c, h], [c] or None
    update, update_weight, update_bias,  # [rows, INNER], [c, INNER], [c]; None where the update is the transition alone
    out,  # [rows, c]: written, dense
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    x0, x1, x2, u0, u1, u2,  # strides of x and update along those axes
    WIDTH: tl.constexpr,  # channels c
    HIDDEN: tl.constexpr,  # hidden channels h
    EXPAND_BIAS: tl.constexpr, CONTRACT_BIAS: tl.constexpr,  # whether the layers have a bias
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows of a program
    BLOCK_H: tl.constexpr,  # hidden channels made at once
    BLOCK_K: tl.constexpr,  # channels read at once; whole rows are held where it is not below WIDTH
    INNER: tl.constexpr, BLOCK_U: tl.constexpr,  # channels of the update, and how many are taken at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write the transition of BLOCK_M rows."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    if update is not None:
        summed = add_projected(
            x, start, update, row_offset(row, middle, inner, u0, u1, u2), inside, update_weight, update_bias,
            WIDTH, INNER, BLOCK_C, BLOCK_M, BLOCK_U, PRECISION,
        )  # fmt: skip
        normed, _, reciprocal = normalise(summed, scale, offset, WIDTH, BLOCK_C)
        total += summed.to(tl.float32)
    elif BLOCK_K < WIDTH:
        mean, reciprocal = row_statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = load_normed_rows(x, start, inside, scale, offset, WIDTH, BLOCK_C)
    for first in range(0, HIDDEN, BLOCK_H):
        column = first + tl.arange(0, BLOCK_H)
        known = column < HIDDEN
        if BLOCK_K < WIDTH:
            hidden = sliced_matmul(
                x, start, inside, mean, reciprocal, scale, offset, expand, column, WIDTH, 1,
                WIDTH, HIDDEN, True, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            at = expand + column[None, :] * WIDTH + channel[:, None]
            tile = tl.load(at, mask=known[None, :] & real[:, None], other=0.0)
            hidden = matmul(normed, tile, tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
        if EXPAND_BIAS:
            hidden += tl.load(expand_bias + column, mask=known, other=0.0).to(tl.float32)[None, :]
        hidden = tl.maximum(hidden, 0.0).to(x.dtype.element_ty)
        at = contract + channel[None, :] * HIDDEN + column[:, None]
        tile = tl.load(at, mask=known[:, None] & real[None, :], other=0.0)
        total = matmul(hidden, tile, total, PRECISION)
    if CONTRACT_BIAS:
        total += tl.load(contract_bias + channel, mask=real, other=0.0).to(tl.float32)[None, :]
    at = out + row.to(tl.int64)[:, None] * WIDTH + channel[None, :]
    tl.store(at, total.to(out.dtype.element_ty), mask=inside[:, None] & real[None, :])
