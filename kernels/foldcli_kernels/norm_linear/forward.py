"""Layer norm and one or two projections of its result in one pass over x; the normalised rows stay on chip.

An update may be projected and added to x first: what ends one attention and begins the next is then one pass.

From 128 channels to 512 a row takes 131,072 FLOPs, 256 bytes to read and 1024 to write: on an H100 memory sets the
pace. So rows are read once, for both projections, and the weights come from the L2 cache.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import load_normed_rows, normalise, row_statistics
from foldcli_kernels.matmul import matmul, sliced_matmul
from foldcli_kernels.residual import add_projected
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
    keep,  # [BLOCK_M] or None: factor of each row's results
    out, out_start, out_step,  # [rows, OUT]: written; where each row begins, and the stride of its columns
    inside,  # [BLOCK_M]: which rows exist
    at_end, spare,  # [BLOCK_M]: which rows end a line of a plane, and how many entries there are beyond
    WIDTH: tl.constexpr, OUT: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the projection of a block of rows, BLOCK_N of the OUT columns at a time."""
    channel = tl.arange(0, BLOCK_C)
    for first in range(0, OUT, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        if BLOCK_K < WIDTH:
            result = sliced_matmul(
                x, start, inside, mean, reciprocal, scale, offset, weight, column, WIDTH, 1,
                WIDTH, OUT, True, BLOCK_M, BLOCK_N, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            at = weight + column[None, :] * WIDTH + channel[:, None]
            tile = tl.load(at, mask=(column < OUT)[None, :] & (channel < WIDTH)[:, None], other=0.0)
            result = matmul(normed, tile, tl.zeros([BLOCK_M, BLOCK_N], tl.float32), PRECISION)
        if HAS_BIAS:
            result += tl.load(bias + column, mask=column < OUT, other=0.0).to(tl.float32)[None, :]
        if keep is not None:
            result *= keep[:, None]
        result = result.to(out.dtype.element_ty)
        mask = inside[:, None] & (column < OUT)[None, :]
        at = out + out_start[:, None] + (column.to(tl.int64) * out_step)[None, :]
        if OUT <= 16:  # rows lie side by side, not columns: so must what neighbouring threads store
            tl.store(tl.trans(at), tl.trans(result), mask=tl.trans(mask))
            for beyond in range(1, spare + 1):
                tl.store(at + beyond, tl.zeros_like(result), mask=mask & at_end[:, None])
        else:
            tl.store(at, result, mask=mask)


@triton.jit(do_not_specialize=["rows", "last", "spare", "spare2"])
def norm_linear_forward(
    x,  # [rows, WIDTH]: channels side by side
    scale, offset,  # [WIDTH]: of the layer norm
    weight, bias,  # [OUT, WIDTH], [OUT] or None: first projection
    out,  # [rows, OUT]: written
    weight2, bias2,  # [OUT2, WIDTH], [OUT2] or None: second projection
    out2,  # [rows, OUT2]: written
    keep,  # [rows] or None: factor of each row's results
    update,  # [rows, INNER] or None: projected and added to x first
    update_weight, update_bias,  # [WIDTH, INNER], [WIDTH]: that projection
    total,  # [rows, WIDTH] or None: written, that sum
    rows, middle, inner,  # number of rows, which lie along three axes, and the lengths of the two inner ones
    x0, x1, x2, a0, a1, a2, a_column, b0, b1, b2, b_column,  # strides of x, out and out2 along those axes
    k0, k1, k2, u0, u1, u2, t0, t1, t2,  # those of keep, update and total
    last, e0, e1, e2,  # index of the last position of a plane's line, and steps of that index along the axes
    spare, spare2,  # entries beyond the end of each line of out and out2, which become zero
    WIDTH: tl.constexpr,  # channels
    OUT: tl.constexpr, OUT2: tl.constexpr,  # columns of both projections, OUT2 = 0 where there is one
    HAS_BIAS: tl.constexpr, HAS_BIAS2: tl.constexpr,
    BLOCK_C: tl.constexpr,  # WIDTH rounded up to a power of two
    BLOCK_M: tl.constexpr,  # rows of a program
    BLOCK_N: tl.constexpr, BLOCK_N2: tl.constexpr,  # columns of the two projections computed at once
    BLOCK_K: tl.constexpr,  # channels read at once; whole rows are held where it is not below WIDTH
    INNER: tl.constexpr, BLOCK_U: tl.constexpr,  # channels of the update, and how many are taken at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Normalise BLOCK_M rows and write their projections."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    normed, mean = 0.0, 0.0
    if update is not None:
        summed = add_projected(
            x, start, update, row_offset(row, middle, inner, u0, u1, u2), inside, update_weight, update_bias,
            WIDTH, INNER, BLOCK_C, BLOCK_M, BLOCK_U, PRECISION,
        )  # fmt: skip
        channel = tl.arange(0, BLOCK_C)
        at = total + row_offset(row, middle, inner, t0, t1, t2)[:, None] + channel[None, :]
        tl.store(at, summed, mask=inside[:, None] & (channel < WIDTH)[None, :])
        normed, _, reciprocal = normalise(summed, scale, offset, WIDTH, BLOCK_C)
    elif BLOCK_K < WIDTH:
        mean, reciprocal = row_statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = load_normed_rows(x, start, inside, scale, offset, WIDTH, BLOCK_C)
    at_end = row_offset(row, middle, inner, e0, e1, e2) == last
    factor = None
    if keep is not None:
        factor = tl.load(keep + row_offset(row, middle, inner, k0, k1, k2), mask=inside, other=0.0).to(tl.float32)
    project_rows(
        x, start, normed, mean, reciprocal, scale, offset, weight, bias, factor,
        out, row_offset(row, middle, inner, a0, a1, a2), a_column, inside, at_end, spare,
        WIDTH, OUT, HAS_BIAS, BLOCK_C, BLOCK_M, BLOCK_N, BLOCK_K, PRECISION,
    )  # fmt: skip
    if OUT2 > 0:
        project_rows(
            x, start, normed, mean, reciprocal, scale, offset, weight2, bias2, factor,
            out2, row_offset(row, middle, inner, b0, b1, b2), b_column, inside, at_end, spare2,
            WIDTH, OUT2, HAS_BIAS2, BLOCK_C, BLOCK_M, BLOCK_N2, BLOCK_K, PRECISION,
        )  # fmt: skip
