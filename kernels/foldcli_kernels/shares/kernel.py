"""Add up what the programs of other kernels have each written of the gradients of parameters, in a fixed order."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

COUNTS = [f"{count}_{number}" for number in range(1, 6) for count in ("parts", "size")]


@triton.jit
def add_some_shares(shares, parts, size, out, block, BLOCK: tl.constexpr, PARTS: tl.constexpr):
    """Write the sums of BLOCK columns of shares [parts, size], if they have so many blocks.

    Returns the place of `block` among the blocks of the next shares, and where those are written.
    """
    blocks = tl.cdiv(size, BLOCK)
    if (block >= 0) & (block < blocks):
        column = block * BLOCK + tl.arange(0, BLOCK)
        total = tl.zeros([PARTS, BLOCK], tl.float32)
        for first in range(0, parts, PARTS):
            part = first + tl.arange(0, PARTS)
            at = shares + part.to(tl.int64)[:, None] * size + column[None, :]
            total += tl.load(at, mask=(part < parts)[:, None] & (column < size)[None, :], other=0.0)
        tl.store(out + column, tl.sum(total, axis=0).to(out.dtype.element_ty), mask=column < size)
    return block - blocks, out + size


@triton.jit(do_not_specialize=COUNTS)
def shares_add(
    shares_1, shares_2, shares_3, shares_4, shares_5,  # each [parts, size] float32, or None
    parts_1, size_1, parts_2, size_2, parts_3, size_3, parts_4, size_4, parts_5, size_5,
    out,  # [sum of sizes]: written
    BLOCK: tl.constexpr,  # columns of a program
    PARTS: tl.constexpr,  # added at once
):  # fmt: skip
    """Write the sums of BLOCK columns of one of the shares over all its parts."""
    block, out = add_some_shares(shares_1, parts_1, size_1, out, tl.program_id(0), BLOCK, PARTS)
    if shares_2 is not None:
        block, out = add_some_shares(shares_2, parts_2, size_2, out, block, BLOCK, PARTS)
    if shares_3 is not None:
        block, out = add_some_shares(shares_3, parts_3, size_3, out, block, BLOCK, PARTS)
    if shares_4 is not None:
        block, out = add_some_shares(shares_4, parts_4, size_4, out, block, BLOCK, PARTS)
    if shares_5 is not None:
        add_some_shares(shares_5, parts_5, size_5, out, block, BLOCK, PARTS)
