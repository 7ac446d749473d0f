"""Gradients of the layer norm, without atomics: every program has a row of partial sums of its own."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import standardise, standardise_backward
from foldcli_kernels.tensors import row_offset


@triton.jit(do_not_specialize=["rows", "blocks"])
def layer_norm_backward(
    grad,  # [rows, WIDTH]: gradient of the result
    x,  # [rows, WIDTH]
    scale,  # [WIDTH]
    grad_x,  # [rows, WIDTH]: written, dense
    partial,  # [programs, 2, WIDTH] float32: written, each program's share of the gradients of scale and offset
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    blocks,  # how many blocks of BLOCK_M rows there are
    g0, g1, g2,  # strides of grad along the three axes
    x0, x1, x2, x_channel,  # strides of x along those axes and its channels
    WIDTH: tl.constexpr,  # channels
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows taken at once
):  # fmt: skip
    """Write the gradient of rows; each program takes every n-th block of them, where n is the number of programs."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    grad_scale = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    grad_offset = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for block in range(tl.program_id(0), blocks, tl.num_programs(0)):
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = (row < rows)[:, None] & real[None, :]
        start = row_offset(row, middle, inner, x0, x1, x2)
        values = tl.load(x + start[:, None] + (channel * x_channel)[None, :], mask=inside, other=0.0).to(tl.float32)
        standard, reciprocal = standardise(values, WIDTH, BLOCK_C)
        start = row_offset(row, middle, inner, g0, g1, g2)
        incoming = tl.load(grad + start[:, None] + channel[None, :], mask=inside, other=0.0).to(tl.float32)
        result = standardise_backward(incoming * factor[None, :], standard, reciprocal, WIDTH)
        start = row.to(tl.int64) * WIDTH
        tl.store(grad_x + start[:, None] + channel[None, :], result.to(grad_x.dtype.element_ty), mask=inside)
        grad_scale += incoming * standard
        grad_offset += incoming
    own_sums = partial + tl.program_id(0) * 2 * WIDTH + channel
    tl.store(own_sums, tl.sum(grad_scale, axis=0), mask=real)
    tl.store(own_sums + WIDTH, tl.sum(grad_offset, axis=0), mask=real)
