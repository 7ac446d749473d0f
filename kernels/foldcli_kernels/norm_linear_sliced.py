"""Products with rows that are read in slices of channels, for rows too wide, or too precise, to be held whole.

Float32 products on tensor cores take three terms of each operand: whole rows of them pass the registers there are.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm_rows import EPS

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def product(left, right, total, PRECISION: tl.constexpr):
    """Matrix product of two tiles, added to a float32 total."""
    if INTERPRETED:  # Triton's interpreter multiplies the bits of bfloat16.
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, total, input_precision=PRECISION)


@triton.jit
def statistics(x, start, inside, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr):
    """Mean and 1 / deviation of rows that begin at x + start; read twice, since squares of far means cancel badly."""
    total = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for first in range(0, WIDTH, BLOCK_K):
        channel = first + tl.arange(0, BLOCK_K)
        real = inside[:, None] & (channel < WIDTH)[None, :]
        total += tl.load(x + start[:, None] + channel[None, :], mask=real, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=1) / WIDTH
    squares = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for first in range(0, WIDTH, BLOCK_K):
        channel = first + tl.arange(0, BLOCK_K)
        real = inside[:, None] & (channel < WIDTH)[None, :]
        values = tl.load(x + start[:, None] + channel[None, :], mask=real, other=0.0).to(tl.float32)
        centred = tl.where(real, values - mean[:, None], 0.0)
        squares += centred * centred
    return mean, tl.rsqrt(tl.sum(squares, axis=1) / WIDTH + EPS)


@triton.jit
def sliced_product(
    x, start, inside, mean, reciprocal, scale, offset, weight, column, column_step, channel_step,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, NORM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows, normalised first where NORM, times some columns of a weight; BLOCK_K channels at a time."""
    result = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for first in range(0, WIDTH, BLOCK_K):
        channel = first + tl.arange(0, BLOCK_K)
        real = channel < WIDTH
        at = x + start[:, None] + channel[None, :]
        values = tl.load(at, mask=inside[:, None] & real[None, :], other=0.0)
        if NORM:
            factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
            shift = tl.load(offset + channel, mask=real, other=0.0).to(tl.float32)
            standard = (values.to(tl.float32) - mean[:, None]) * reciprocal[:, None]
            values = (standard * factor[None, :] + shift[None, :]).to(x.dtype.element_ty)
        at = weight + column[None, :] * column_step + channel[:, None] * channel_step
        tile = tl.load(at, mask=(column < COLUMNS)[None, :] & real[:, None], other=0.0)
        result = product(values, tile, result, PRECISION)
    return result
