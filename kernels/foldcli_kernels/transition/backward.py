"""Gradients of the transition: hidden channels are computed again tile by tile, and sums over rows keep their order."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import load_normed_rows, row_statistics, store_norm_gradient
from foldcli_kernels.matmul import matmul, sliced_matmul
from foldcli_kernels.tensors import row_offset


@triton.jit(do_not_specialize=["rows"])
def transition_backward_input(
    x,  # [rows, c]: channels side by side
    scale, offset,  # [c]: of the layer norm
    expand, expand_bias,  # [h, c], [h] or None
    contract,  # [c, h]
    grad,  # [rows, c]: gradient of the result
    grad_x,  # [rows, c]: written, dense
    partial,  # [programs, 2, c] float32: written, each program's share of the gradients of scale and offset
    partial_bias,  # [programs, c] float32: written where CONTRACT_BIAS, that of the contracting layer's bias
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    x0, x1, x2, g0, g1, g2,  # strides of x and grad along those axes
    WIDTH: tl.constexpr,  # channels c
    HIDDEN: tl.constexpr,  # hidden channels h
    EXPAND_BIAS: tl.constexpr, CONTRACT_BIAS: tl.constexpr,  # whether the layers have a bias
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows of a program
    BLOCK_H: tl.constexpr,  # hidden channels made at once
    BLOCK_K: tl.constexpr,  # channels read at once; whole rows are held where it is not below WIDTH
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write the gradient of BLOCK_M rows of x, and a share of those that are sums over rows alone."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    grad_start = row_offset(row, middle, inner, g0, g1, g2)
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    mask = inside[:, None] & real[None, :]
    if BLOCK_K < WIDTH:
        mean, reciprocal = row_statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = load_normed_rows(x, start, inside, scale, offset, WIDTH, BLOCK_C)
        incoming = tl.load(grad + grad_start[:, None] + channel[None, :], mask=mask, other=0.0)
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for first in range(0, HIDDEN, BLOCK_H):
        column = first + tl.arange(0, BLOCK_H)
        known = column < HIDDEN
        at = expand + column[:, None] * WIDTH + channel[None, :]
        tile = tl.load(at, mask=known[:, None] & real[None, :], other=0.0)
        if BLOCK_K < WIDTH:
            hidden = sliced_matmul(
                x, start, inside, mean, reciprocal, scale, offset, expand, column, WIDTH, 1,
                WIDTH, HIDDEN, True, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
            grad_hidden = sliced_matmul(
                grad, grad_start, inside, mean, reciprocal, scale, offset, contract, column, 1, HIDDEN,
                WIDTH, HIDDEN, False, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            hidden = matmul(normed, tl.trans(tile), tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
            at = contract + channel[:, None] * HIDDEN + column[None, :]
            back = tl.load(at, mask=real[:, None] & known[None, :], other=0.0)
            grad_hidden = matmul(incoming, back, tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
        if EXPAND_BIAS:
            hidden += tl.load(expand_bias + column, mask=known, other=0.0).to(tl.float32)[None, :]
        grad_hidden = tl.where(hidden > 0, grad_hidden, 0.0).to(x.dtype.element_ty)
        total = matmul(grad_hidden, tile, total, PRECISION)
    # program_id(1) is always 0, which the compiler cannot know: otherwise it would keep the addresses in registers.
    row += tl.program_id(1)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    store_norm_gradient(x, start, row, inside, scale, total, grad_x, partial, WIDTH, BLOCK_C)
    if CONTRACT_BIAS:
        start = row_offset(row, middle, inner, g0, g1, g2)
        at = grad + start[:, None] + channel[None, :]
        again = tl.load(at, mask=inside[:, None] & real[None, :], other=0.0).to(tl.float32)
        tl.store(partial_bias + tl.program_id(0).to(tl.int64) * WIDTH + channel, tl.sum(again, axis=0), mask=real)


@triton.jit(do_not_specialize=["rows", "blocks"])
def transition_backward_weights(
    x,  # [rows, c]: channels side by side
    scale, offset,  # [c]: of the layer norm
    expand, expand_bias,  # [h, c], [h] or None
    contract,  # [c, h]
    grad,  # [rows, c]: gradient of the result
    partial,  # [groups, 2 h c] float32: written, shares of the gradients of expand [h, c], then of contract [c, h]
    partial_bias,  # [groups, h] float32: written where EXPAND_BIAS, that of the expanding layer's bias
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    blocks,  # how many blocks of BLOCK_M rows there are
    x0, x1, x2, g0, g1, g2,  # strides of x and grad along those axes
    WIDTH: tl.constexpr,  # channels c
    HIDDEN: tl.constexpr,  # hidden channels h
    EXPAND_BIAS: tl.constexpr,  # whether the expanding layer has a bias
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows taken at once
    BLOCK_H: tl.constexpr,  # hidden channels of a program
    BLOCK_K: tl.constexpr,  # channels read at once; whole rows are held where it is not below WIDTH
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Sum the gradients of BLOCK_H hidden channels over every n-th block of rows, n groups in all."""
    column = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)
    channel = tl.arange(0, BLOCK_C)
    known, real = column < HIDDEN, channel < WIDTH
    both = known[:, None] & real[None, :]
    if BLOCK_K >= WIDTH:
        forth = tl.load(expand + column[:, None] * WIDTH + channel[None, :], mask=both, other=0.0)
        from_column = contract + channel[:, None] * HIDDEN + column[None, :]
        back = tl.load(from_column, mask=real[:, None] & known[None, :], other=0.0)
    if EXPAND_BIAS:
        shift = tl.load(expand_bias + column, mask=known, other=0.0).to(tl.float32)
    total_expand = tl.zeros([BLOCK_H, BLOCK_C], tl.float32)
    total_contract = tl.zeros([BLOCK_H, BLOCK_C], tl.float32)
    total_bias = tl.zeros([BLOCK_H], tl.float32)
    for block in range(tl.program_id(1), blocks, tl.num_programs(1)):
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = row < rows
        start = row_offset(row, middle, inner, x0, x1, x2)
        grad_start = row_offset(row, middle, inner, g0, g1, g2)
        normed, _, _ = load_normed_rows(x, start, inside, scale, offset, WIDTH, BLOCK_C)
        at = grad + grad_start[:, None] + channel[None, :]
        incoming = tl.load(at, mask=inside[:, None] & real[None, :], other=0.0)
        if BLOCK_K < WIDTH:
            mean, reciprocal = row_statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
            hidden = sliced_matmul(
                x, start, inside, mean, reciprocal, scale, offset, expand, column, WIDTH, 1,
                WIDTH, HIDDEN, True, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
            grad_hidden = sliced_matmul(
                grad, grad_start, inside, mean, reciprocal, scale, offset, contract, column, 1, HIDDEN,
                WIDTH, HIDDEN, False, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            hidden = matmul(normed, tl.trans(forth), tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
            grad_hidden = matmul(incoming, back, tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
        if EXPAND_BIAS:
            hidden += shift[None, :]
        grad_hidden = tl.where(hidden > 0, grad_hidden, 0.0)
        hidden = tl.maximum(hidden, 0.0).to(x.dtype.element_ty)
        total_bias += tl.sum(grad_hidden, axis=0)
        total_expand = matmul(tl.trans(grad_hidden.to(x.dtype.element_ty)), normed, total_expand, PRECISION)
        total_contract = matmul(tl.trans(hidden), incoming, total_contract, PRECISION)
    share = partial + tl.program_id(1).to(tl.int64) * 2 * HIDDEN * WIDTH
    tl.store(share + column[:, None] * WIDTH + channel[None, :], total_expand, mask=both)
    share += HIDDEN * WIDTH
    tl.store(share + column[:, None] + channel[None, :] * HIDDEN, total_contract, mask=both)
    if EXPAND_BIAS:
        tl.store(partial_bias + tl.program_id(1) * HIDDEN + column, total_bias, mask=known)
