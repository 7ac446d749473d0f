"""Gated attention with pair bias, forward (Suppl. Alg. 7, 8, 13, 14): online softmax, the gate applied at the end."""

# Triton's decorator and kernels carry no types, and its tuples grow.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,assignment"

import triton
import triton.language as tl

from foldcli_kernels.attention.blocks import (
    ALL_MASKED,
    LOG2E,
    MASKED_LOGIT,
    PADDED_LOGIT,
    load_head,
    load_key_mask,
    load_pair_bias,
    locate,
    store_head,
)


@triton.jit
def attend(
    q, k, v,  # [BLOCK_M, WIDTH], [BLOCK_N, WIDTH], [BLOCK_N, WIDTH]
    keep, fill,  # [BLOCK_N]: which keys may be attended to, and the logits of the others
    offset,  # [BLOCK_M, BLOCK_N]: bias
    total, peak, mass,  # running softmax: weighted values [BLOCK_M, WIDTH], largest logit and sum of weights [BLOCK_M]
    UNIT: tl.constexpr,  # scale of the logits times log2(e)
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a tile of keys to the running softmax; logits are raw products q k, which UNIT brings into powers of two."""
    logits = tl.dot(q, tl.trans(k), offset, input_precision=PRECISION)
    logits = tl.where(keep[None, :], logits, fill[None, :])
    higher = tl.maximum(peak, tl.max(logits, 1))
    weight = tl.exp2(tl.fma(logits, UNIT, (higher * -UNIT)[:, None]))
    shrink = tl.exp2((peak - higher) * UNIT)
    total = tl.dot(weight.to(v.dtype), v, total * shrink[:, None], input_precision=PRECISION)
    return total, higher, mass * shrink + tl.sum(weight, 1)


@triton.jit(do_not_specialize=["groups"])
def attention_forward(
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    gate_bias,  # [h d]
    mask,  # [b, g, n]: not 0 where a key may be attended to
    bias,  # [b, h, n, pitch] or None: added to the logits of every row
    out,  # [b, g, n, h d]: written, gated values
    lse,  # [b, h, g, n] float32: written, log-sum-exp of the logits, base 2
    heads, groups, length,  # h, g and n
    pitch,  # entries from one row of the bias to the next, a multiple of 16
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,
    out_b: tl.int64, out_g: tl.int64, out_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    ROWS: tl.constexpr,  # rows of a program, which share each tile of the bias
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Attend from BLOCK_M positions of ROWS rows at once."""
    SCALE: tl.constexpr = DIM**-0.5
    UNIT: tl.constexpr = SCALE * LOG2E
    row_groups = tl.cdiv(groups, ROWS)
    block, group, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_M), row_groups, heads)
    first, hd = block * BLOCK_M, heads * DIM
    query = first + tl.arange(0, BLOCK_M)
    packed += b * packed_b + h * DIM
    mask += b * mask_b

    queries, totals, peaks, masses = (), (), (), ()
    for r in tl.static_range(ROWS):
        row = group * ROWS + r
        limit = tl.where(row < groups, length, 0)
        queries += (load_head(packed + row * packed_g, first, packed_n, limit, BLOCK_M, DIM, WIDTH),)
        totals += (tl.zeros((BLOCK_M, WIDTH), tl.float32),)
        peaks += (tl.full((BLOCK_M,), PADDED_LOGIT, tl.float32),)
        masses += (tl.zeros((BLOCK_M,), tl.float32),)

    ahead = load_pair_bias(bias, b * heads + h, first, 0, length, pitch, BLOCK_M, BLOCK_N)
    for start in tl.range(0, length, BLOCK_N):
        offset = ahead.to(tl.float32) * (1 / SCALE)
        # Loaded one step ahead here, since the compiler does so only for operands of products.
        ahead = load_pair_bias(bias, b * heads + h, first, start + BLOCK_N, length, pitch, BLOCK_M, BLOCK_N)
        new_totals, new_peaks, new_masses = (), (), ()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            side = packed + row * packed_g
            k = load_head(side + hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
            v = load_head(side + 2 * hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
            keep, fill = load_key_mask(mask + row * mask_g, start, mask_n, limit, BLOCK_N, MASKED_LOGIT)
            total, peak, mass = attend(
                queries[r], k, v, keep, fill, offset, totals[r], peaks[r], masses[r], UNIT, PRECISION
            )
            new_totals += (total,)
            new_peaks += (peak,)
            new_masses += (mass,)
        totals, peaks, masses = new_totals, new_peaks, new_masses

    channel = tl.arange(0, WIDTH)
    shift = tl.load(gate_bias + h * DIM + channel, mask=channel < DIM, other=0.0).to(tl.float32)
    for r in tl.static_range(ROWS):
        row = group * ROWS + r
        limit = tl.where(row < groups, length, 0)
        gate = load_head(packed + row * packed_g + 3 * hd, first, packed_n, limit, BLOCK_M, DIM, WIDTH)
        gated = totals[r] / masses[r][:, None] * tl.sigmoid(gate.to(tl.float32) + shift[None, :])
        store_head(out + b * out_b + row * out_g + h * DIM, first, out_n, limit, gated, BLOCK_M, DIM, WIDTH)
        # Added to a peak of -2^30, the logarithm of the sum would be lost to rounding.
        sums = tl.where(peaks[r] > MASKED_LOGIT / 2, peaks[r] * UNIT + tl.log2(masses[r]), ALL_MASKED)
        tl.store(lse + ((b * heads + h).to(tl.int64) * groups + row) * length + query, sums, mask=query < limit)
