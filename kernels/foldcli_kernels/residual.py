"""Add an update to rows on chip, for kernels that go on with their sum: it is not read again from memory."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.matmul import sliced_matmul


@triton.jit
def add_projected(
    x, start,  # rows, and where each begins [BLOCK_M]
    update, update_start,  # [rows, INNER], and where each begins
    inside,  # [BLOCK_M]: which rows exist
    weight, bias,  # [WIDTH, INNER], [WIDTH]: projection of the update
    WIDTH: tl.constexpr, INNER: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_U: tl.constexpr,  # channels of the update taken at once
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Return rows of x plus their projected updates [BLOCK_M, BLOCK_C] in the type of x, zero outside."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    projected = sliced_matmul(
        update, update_start, inside, 0.0, 0.0, weight, weight, weight, channel, INNER, 1,
        INNER, WIDTH, False, BLOCK_M, BLOCK_C, BLOCK_U, PRECISION,
    )  # fmt: skip
    projected += tl.load(bias + channel, mask=real, other=0.0).to(tl.float32)[None, :]
    at = x + start[:, None] + channel[None, :]
    rows = tl.load(at, mask=inside[:, None] & real[None, :], other=0.0).to(tl.float32)
    return (rows + projected).to(x.dtype.element_ty)
