"""Gradients of a layer norm and its projections; normalised rows are computed again, sums keep their order."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import load_normed_rows, store_norm_gradient
from foldcli_kernels.matmul import matmul
from foldcli_kernels.tensors import row_offset


@triton.jit
def add_unprojected(
    total,  # [BLOCK_M, BLOCK_C] float32
    grad,  # [rows, OUT]
    start, inside,  # [BLOCK_M]: offset of each row in grad, and whether it exists
    weight,  # [OUT, WIDTH]
    WIDTH: tl.constexpr, OUT: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return total + grad @ weight for a block of rows."""
    channel = tl.arange(0, BLOCK_C)
    for first in range(0, OUT, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        real = column < OUT
        incoming = tl.load(grad + start[:, None] + column[None, :], mask=inside[:, None] & real[None, :], other=0.0)
        at = weight + column[:, None] * WIDTH + channel[None, :]
        tile = tl.load(at, mask=real[:, None] & (channel < WIDTH)[None, :], other=0.0)
        total = matmul(incoming, tile, total, PRECISION)
    return total


@triton.jit(do_not_specialize=["rows"])
def norm_linear_backward_input(
    x,  # [rows, WIDTH]: channels side by side
    scale,  # [WIDTH]: of the layer norm
    grad, weight,  # [rows, OUT], [OUT, WIDTH]: gradient of the first result, and its projection
    grad2, weight2,  # [rows, OUT2], [OUT2, WIDTH]: those of the second
    grad_x,  # [rows, WIDTH]: written, dense
    partial,  # [programs, 2, WIDTH] float32: written, each program's share of the gradients of scale and offset
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    x0, x1, x2, g0, g1, g2, h0, h1, h2,  # strides along those axes of x, grad and grad2
    WIDTH: tl.constexpr,  # channels
    OUT: tl.constexpr, OUT2: tl.constexpr,  # columns of both projections, OUT2 = 0 where there is one
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows of a program
    BLOCK_N: tl.constexpr, BLOCK_N2: tl.constexpr,  # columns of the two projections taken at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write the gradient of BLOCK_M rows of x, and a share of those of scale and offset."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    start = row_offset(row, middle, inner, g0, g1, g2)
    total = add_unprojected(total, grad, start, inside, weight, WIDTH, OUT, BLOCK_C, BLOCK_N, PRECISION)
    if OUT2 > 0:
        start = row_offset(row, middle, inner, h0, h1, h2)
        total = add_unprojected(total, grad2, start, inside, weight2, WIDTH, OUT2, BLOCK_C, BLOCK_N2, PRECISION)
    start = row_offset(row, middle, inner, x0, x1, x2)
    store_norm_gradient(x, start, row, inside, scale, total, grad_x, partial, WIDTH, BLOCK_C)


@triton.jit(do_not_specialize=["rows", "blocks"])
def norm_linear_backward_weights(
    x,  # [rows, WIDTH]: channels side by side
    scale, offset,  # [WIDTH]: of the layer norm
    grad,  # [rows, OUT]: gradient of the result
    partial,  # [groups, OUT, WIDTH] float32: written, each group's share of the weight's gradient
    partial_bias,  # [groups, OUT] float32: written, that of the bias's
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    blocks,  # how many blocks of BLOCK_M rows there are
    x0, x1, x2, g0, g1, g2,  # strides along the three axes of x and grad
    WIDTH: tl.constexpr,  # channels
    OUT: tl.constexpr,  # columns of the projection
    HAS_BIAS: tl.constexpr,
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows taken at once
    BLOCK_N: tl.constexpr,  # columns of a program
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Sum BLOCK_N columns of a projection's gradient over every n-th block of rows, n groups in all."""
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    channel = tl.arange(0, BLOCK_C)
    total = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    total_bias = tl.zeros([BLOCK_N], tl.float32)
    for block in range(tl.program_id(1), blocks, tl.num_programs(1)):
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = row < rows
        start = row_offset(row, middle, inner, x0, x1, x2)
        normed, _, _ = load_normed_rows(x, start, inside, scale, offset, WIDTH, BLOCK_C)
        start = row_offset(row, middle, inner, g0, g1, g2)
        at = grad + start[None, :] + column[:, None]
        incoming = tl.load(at, mask=inside[None, :] & (column < OUT)[:, None], other=0.0)
        total = matmul(incoming, normed, total, PRECISION)
        if HAS_BIAS:
            total_bias += tl.sum(incoming.to(tl.float32), axis=1)
    line = tl.program_id(1).to(tl.int64) * OUT + column
    mask = (column < OUT)[:, None] & (channel < WIDTH)[None, :]
    tl.store(partial + line[:, None] * WIDTH + channel[None, :], total, mask=mask)
    if HAS_BIAS:
        tl.store(partial_bias + line, total_bias, mask=column < OUT)
