"""Mean outer product of columns, projected to the pairs without ever being in device memory (Suppl. Alg. 10)."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.matmul import matmul


# A loop over 1 sequence, known to be 1, would be compiled to take more shared memory than there is.
@triton.jit(do_not_specialize=["sequences", "rows", "length"])
def outer_product_mean_forward(
    left,  # [b, s, i, C]
    right,  # [b, s, j, E]
    weight, bias,  # [WIDTH, C E], [WIDTH] or None: projection to the pairs
    count,  # [b, i, j]: how many sequences cover both columns
    pairs,  # [b, i, j, WIDTH] or None: added to the result
    out,  # [b, i, j, WIDTH]: written, dense
    sequences, rows, length,  # lengths of s, i and j
    left_b, left_s, left_i, right_b, right_s, right_j, count_b, count_i, count_j,  # strides
    pairs_b, pairs_i, pairs_j,
    epsilon,  # added to count, against division by 0
    C: tl.constexpr, E: tl.constexpr, WIDTH: tl.constexpr,  # channels of left, right and the result
    BLOCK_E: tl.constexpr, BLOCK_F: tl.constexpr,  # E and WIDTH rounded up to what a tile can have
    TILE_I: tl.constexpr, TILE_J: tl.constexpr,  # pairs of a program
    BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,  # channels of left and sequences taken at once
    HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Write TILE_I x TILE_J pairs."""
    batch = tl.program_id(2).to(tl.int64)
    first, second = tl.program_id(1) * TILE_I, tl.program_id(0) * TILE_J
    feature = tl.arange(0, BLOCK_F)
    along_left, along_right = tl.arange(0, TILE_I * BLOCK_C), tl.arange(0, TILE_J * BLOCK_E)
    i, j, e = first + along_left // BLOCK_C, second + along_right // BLOCK_E, along_right % BLOCK_E
    right_inside = (j < length) & (e < E)
    both = tl.arange(0, BLOCK_C * BLOCK_E)
    total = tl.zeros([TILE_I * TILE_J, BLOCK_F], tl.float32)
    for start in range(0, C, BLOCK_C):
        c = start + along_left % BLOCK_C
        left_inside = (i < rows) & (c < C)
        outer = tl.zeros([TILE_I * BLOCK_C, TILE_J * BLOCK_E], tl.float32)
        for sequence in range(0, sequences, BLOCK_S):
            s = tl.arange(0, BLOCK_S)
            inside = sequence + s < sequences
            # int64 once a block: sequences times columns times channels can pass 2^31.
            at_left = left + batch * left_b + tl.cast(sequence, tl.int64) * left_s
            at_right = right + batch * right_b + tl.cast(sequence, tl.int64) * right_s
            a = tl.load(
                at_left + (i * left_i + c)[:, None] + s[None, :] * left_s,
                mask=left_inside[:, None] & inside[None, :], other=0.0,
            )  # fmt: skip
            b = tl.load(
                at_right + s[:, None] * right_s + (j * right_j + e)[None, :],
                mask=inside[:, None] & right_inside[None, :], other=0.0,
            )  # fmt: skip
            outer = matmul(a, b, outer)
        # [i, c, j, e] to [i j, c e]: one row for each pair
        outer = tl.reshape(outer.to(left.dtype.element_ty), (TILE_I, BLOCK_C, TILE_J, BLOCK_E))
        outer = tl.reshape(tl.permute(outer, (0, 2, 1, 3)), (TILE_I * TILE_J, BLOCK_C * BLOCK_E))
        c, e_in_weight = start + both // BLOCK_E, both % BLOCK_E
        weight_rows = tl.load(
            weight + feature[None, :] * (C * E) + (c * E + e_in_weight)[:, None],
            mask=((c < C) & (e_in_weight < E))[:, None] & (feature < WIDTH)[None, :], other=0.0,
        )  # fmt: skip
        total = matmul(outer, weight_rows, total)
    pair = tl.arange(0, TILE_I * TILE_J)
    i_out, j_out = (first + pair // TILE_J).to(tl.int64), (second + pair % TILE_J).to(tl.int64)
    exists = (i_out < rows) & (j_out < length)
    covered = tl.load(count + batch * count_b + i_out * count_i + j_out * count_j, mask=exists, other=1.0)
    if HAS_BIAS:
        total += tl.load(bias + feature, mask=feature < WIDTH, other=0.0).to(tl.float32)[None, :]
    result = total / (covered.to(tl.float32) + epsilon)[:, None]
    real = exists[:, None] & (feature < WIDTH)[None, :]
    if pairs is not None:
        at = pairs + (batch * pairs_b + i_out * pairs_i + j_out * pairs_j)[:, None] + feature[None, :]
        result += tl.load(at, mask=real, other=0.0).to(tl.float32)
    target = ((batch * rows + i_out) * length + j_out) * WIDTH
    tl.store(out + target[:, None] + feature[None, :], result.to(out.dtype.element_ty), mask=real)
