"""Mean and deviation of rows of channels, forward and backward: for every kernel that begins with a layer norm."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

EPS = tl.constexpr(1e-5)  # that of foldcli.ops.dense; the tests compare with it


@triton.jit
def standardise(x, WIDTH: tl.constexpr, BLOCK_C: tl.constexpr):
    """Return rows of float32 channels, zero beyond WIDTH, at mean 0 and variance 1; and 1 / deviation of each row."""
    centred = x - (tl.sum(x, axis=1) / WIDTH)[:, None]
    if BLOCK_C != WIDTH:
        centred = tl.where((tl.arange(0, BLOCK_C) < WIDTH)[None, :], centred, 0.0)
    reciprocal = tl.rsqrt(tl.sum(centred * centred, axis=1) / WIDTH + EPS)
    return centred * reciprocal[:, None], reciprocal


@triton.jit
def standardise_backward(grad, standard, reciprocal, WIDTH: tl.constexpr):
    """Return the gradient of the rows that `standardise` was given, from that of its result; both zero beyond WIDTH."""
    along = tl.sum(grad * standard, axis=1) / WIDTH
    mean = tl.sum(grad, axis=1) / WIDTH
    return (grad - mean[:, None] - standard * along[:, None]) * reciprocal[:, None]


@triton.jit
def row_statistics(x, start, inside, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr):
    """Return mean and 1 / deviation of rows that begin at x + start, BLOCK_K channels at a time.

    Rows are read twice: from a mean of squares, a mean far from 0 would cancel most digits.
    """
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
def normalise(values, scale, offset, WIDTH: tl.constexpr, BLOCK_C: tl.constexpr):
    """Return rows normalised in their own type, and `standardise`'s two results; values are zero beyond WIDTH."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    standard, reciprocal = standardise(values.to(tl.float32), WIDTH, BLOCK_C)
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    shift = tl.load(offset + channel, mask=real, other=0.0).to(tl.float32)
    return (standard * factor[None, :] + shift[None, :]).to(values.dtype), standard, reciprocal


@triton.jit
def load_normed_rows(x, start, inside, scale, offset, WIDTH: tl.constexpr, BLOCK_C: tl.constexpr):
    """Load rows that begin at x + start; return them normalised in the type of x, and `standardise`'s two results."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    values = tl.load(x + start[:, None] + channel[None, :], mask=inside[:, None] & real[None, :], other=0.0)
    return normalise(values, scale, offset, WIDTH, BLOCK_C)


@triton.jit
def store_norm_gradient(
    x,  # [rows, WIDTH]: input of the layer norm
    start,  # [BLOCK_M]: offset of each row in x
    row, inside,  # [BLOCK_M]: index of each row, and whether it exists
    scale,  # [WIDTH]
    total,  # [BLOCK_M, BLOCK_C] float32: gradient of the normalised rows
    grad_x,  # [rows, WIDTH]: written, dense
    partial,  # [programs, 2, WIDTH] float32: written, this program's share of the gradients of scale and offset
    WIDTH: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Take the gradient of normalised rows back to x."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    mask = inside[:, None] & real[None, :]
    values = tl.load(x + start[:, None] + channel[None, :], mask=mask, other=0.0).to(tl.float32)
    standard, reciprocal = standardise(values, WIDTH, BLOCK_C)
    line = partial + tl.program_id(0).to(tl.int64) * 2 * WIDTH + channel
    tl.store(line, tl.sum(total * standard, axis=0), mask=real)
    tl.store(line + WIDTH, tl.sum(total, axis=0), mask=real)
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    result = standardise_backward(total * factor[None, :], standard, reciprocal, WIDTH)
    at = grad_x + row.to(tl.int64)[:, None] * WIDTH + channel[None, :]
    tl.store(at, result.to(grad_x.dtype.element_ty), mask=mask)
