"""Layer norm over the last axis of a tensor with any strides; statistics in float32."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import standardise
from foldcli_kernels.tensors import row_offset


@triton.jit(do_not_specialize=["rows"])
def layer_norm_forward(
    x,  # [rows, WIDTH], with any strides
    scale, offset,  # [WIDTH]
    out,  # [rows, WIDTH]: written, dense
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    x0, x1, x2, x_channel,  # strides of x along those axes and its channels
    WIDTH: tl.constexpr,  # channels
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows of a program
):  # fmt: skip
    """Normalise BLOCK_M rows."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    inside = (row < rows)[:, None] & real[None, :]
    start = row_offset(row, middle, inner, x0, x1, x2)
    values = tl.load(x + start[:, None] + (channel * x_channel)[None, :], mask=inside, other=0.0).to(tl.float32)
    standard, _ = standardise(values, WIDTH, BLOCK_C)
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    shift = tl.load(offset + channel, mask=real, other=0.0).to(tl.float32)
    result = standard * factor[None, :] + shift[None, :]
    start = row.to(tl.int64) * WIDTH
    tl.store(out + start[:, None] + channel[None, :], result.to(out.dtype.element_ty), mask=inside)
