"""Matrix products of tiles: their precision, the least size of a tile, and products with rows read in slices."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
# How float32 is multiplied, to full precision either way. IEEE: without tensor cores; TF32X3: on them, as three TF32
# products. With 128 channels both need many registers: triangle kernels name the one that does not spill them.
IEEE = tl.constexpr("ieee")
TF32X3 = tl.constexpr("tf32x3")
NARROWEST = 16  # the least side that a matrix instruction takes


def float32_precision(dtype: torch.dtype) -> str:
    """Return how float32 is multiplied: as three TF32 products, or as one where torch permits it; others: "ieee"."""
    if dtype != torch.float32:
        return "ieee"  # no choice in half precision
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def padded_width(width: int) -> int:
    """Round a number of channels up to what a tile can have: a power of two that a matrix instruction takes."""
    return max(NARROWEST, triton.next_power_of_2(width))


@triton.jit
def matmul(left, right, total, PRECISION: tl.constexpr = IEEE):
    """Return the matrix product of two tiles, added to a float32 total."""
    if INTERPRETED:  # Triton's interpreter multiplies the bit patterns of bfloat16 as integers.
        left = left.to(tl.float32)
        right = right.to(tl.float32)
    return tl.dot(left, right, total, input_precision=PRECISION)


@triton.jit
def sliced_matmul(
    x,  # [rows, WIDTH]
    start,  # [BLOCK_M]: offset of each row in x
    inside,  # [BLOCK_M]: which rows exist
    mean, reciprocal,  # [BLOCK_M]: statistics of the rows, used where NORM
    scale, offset,  # [WIDTH]: of the layer norm
    weight,  # [COLUMNS, WIDTH] in any memory order
    column,  # [BLOCK_N]: which columns of the result are computed
    column_step, channel_step,  # strides of the weight
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, NORM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return rows times some columns of a weight, BLOCK_K channels at a time; normalised first where NORM.

    For rows too wide, or too precise, to be held whole: in float32, tensor cores take each operand in three parts,
    which for whole rows needs more registers than there are.
    """
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
        result = matmul(values, tile, result, PRECISION)
    return result
