"""Layer norm and one or two projections of its result in one pass over x; the normalised rows stay on chip.

From 128 channels to 512 a row takes 131,072 FLOPs, 256 bytes to read and 1024 to write: on an H100 memory sets the
pace. So rows are read once, for both projections, and the weights come from the L2 cache.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import load_normed_rows, row_statistics
from foldcli_kernels.matmul import matmul, sliced_matmul
from foldcli_kernels.tensors import row_offset


@triton.jit
def project_rows(
    x,  # [rows, WIDTH]
    start,  # [BLOCK_M]: offset of each row in x
    normed,  # [BLOCK_M, BLOCK_C]: the normalised rows, where they are held whole
    mean, reciprocal,  # [BLOCK_M]: statistics of the rows, where they are read in slices
    scale, offset,  # [WIDTH]
    weight,  # [OUT, WIDTH]
    bias,  # [OUT]
    out,  # [rows, OUT]: written, dense
    row, rows,  # index of each row [BLOCK_M], and how many rows there are
    WIDTH: tl.constexpr, OUT: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the projection of a block of rows, BLOCK_N of the OUT columns at a time."""
    channel = tl.arange(0, BLOCK_C)
    for first in range(0, OUT, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        if BLOCK_K < WIDTH:
            result = sliced_matmul(
                x, start, row < rows, mean, reciprocal, scale, offset, weight, column, WIDTH, 1,
                WIDTH, OUT, True, BLOCK_M, BLOCK_N, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            at = weight + column[None, :] * WIDTH + channel[:, None]
            tile = tl.load(at, mask=(column < OUT)[None, :] & (channel < WIDTH)[:, None], other=0.0)
            result = matmul(normed, tile, tl.zeros([BLOCK_M, BLOCK_N], tl.float32), PRECISION)
        if HAS_BIAS:
            result += tl.load(bias + column, mask=column < OUT, other=0.0).to(tl.float32)[None, :]
        at = out + row.to(tl.int64)[:, None] * OUT + column[None, :]
        tl.store(at, result.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (column < OUT)[None, :])


@triton.jit(do_not_specialize=["rows"])
def norm_linear_forward(
    x,  # [rows, WIDTH]: channels side by side
    scale, offset,  # [WIDTH]: of the layer norm
    weight, bias,  # [OUT, WIDTH], [OUT] or None: first projection
    out,  # [rows, OUT]: written, dense
    weight2, bias2,  # [OUT2, WIDTH], [OUT2] or None: second projection
    out2,  # [rows, OUT2]: written, dense
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    x0, x1, x2,  # strides of x along those axes
    WIDTH: tl.constexpr,  # channels
    OUT: tl.constexpr, OUT2: tl.constexpr,  # columns of both projections, OUT2 = 0 where there is one
    HAS_BIAS: tl.constexpr, HAS_BIAS2: tl.constexpr,
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows of a program
    BLOCK_N: tl.constexpr, BLOCK_N2: tl.constexpr,  # columns of the two projections computed at once
    BLOCK_K: tl.constexpr,  # channels read at once; whole rows are held where it is not below WIDTH
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Normalise BLOCK_M rows and write their projections."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    start = row_offset(row, middle, inner, x0, x1, x2)
    normed, mean = 0.0, 0.0
    if BLOCK_K < WIDTH:
        mean, reciprocal = row_statistics(x, start, row < rows, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = load_normed_rows(x, start, row < rows, scale, offset, WIDTH, BLOCK_C)
    project_rows(
        x, start, normed, mean, reciprocal, scale, offset, weight, bias, out, row, rows,
        WIDTH, OUT, HAS_BIAS, BLOCK_C, BLOCK_M, BLOCK_N, BLOCK_K, PRECISION,
    )  # fmt: skip
    if OUT2 > 0:
        project_rows(
            x, start, normed, mean, reciprocal, scale, offset, weight2, bias2, out2, row, rows,
            WIDTH, OUT2, HAS_BIAS2, BLOCK_C, BLOCK_M, BLOCK_N2, BLOCK_K, PRECISION,
        )  # fmt: skip
