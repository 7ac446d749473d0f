"""Gated attention with pair bias, forward (Suppl. Alg. 7, 8, 13, 14): online softmax, the gate applied at the end.

What bounds it on an H100 is how many instructions it issues for a score (a query-key pair of one row), so the loop is
written for few. Counted in the machine code for sm_90 (Triton 3.9, bf16, head dim 32, with a bias), never timed:

| form | tile | instructions a score |
| --- | --- | --- |
| mask read as it is passed, bias scaled in every step | 2 x 64 x 64 | 19.1 |
| mask a row of numbers to add, the queries take the scale, the bias begins the first product | 1 x 128 x 64 | 12.8 |
| 128 keys a step | 1 x 128 x 128 | 10.7 |
| mask and bias added in pairs of bf16 | | 10.4 |
| weights summed by a product with a column of ones | | 10.0 |
| running sums added by an fma, not inside the products | | 9.8 |
| the same in the tile that ships, whose rows share tiles of the bias: a third less traffic | 2 x 128 x 64 | 10.0 |

The fma also lets the assembler overlap the products, which it serialises where one still runs that writes registers
which the next step sets. Left out: tensor descriptors (0.15 less, but sm_90 alone), bf16 unpacked in assembly (0.9
less, but no interpreter runs that), warp specialisation (no change: the compiler does none here), the mask as a channel
of the keys (head dim 32 has none to spare, so that it would cost a product).
"""

# Triton's decorator and kernels carry no types, and its tuples grow.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,assignment"

import triton
import triton.language as tl

from foldcli_kernels.attention.blocks import MASKED, load_head, load_pair_bias, locate, mask_bias, scaled, store_head


@triton.jit
def attend(
    q, k, v,  # [BLOCK_M, WIDTH], [BLOCK_N, WIDTH], [BLOCK_N, WIDTH]; queries are scaled
    offset,  # [BLOCK_M, BLOCK_N]: bias
    fill,  # [BLOCK_N]: what is added for the mask
    total, peak, mass,  # running softmax: weighted values [BLOCK_M, WIDTH], largest logit [BLOCK_M], and the sum of
    # weights [BLOCK_M, 16], the same in all columns
    unit,  # factor from logits to powers of two
    ones,  # [BLOCK_N, 16]
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a tile of keys to the running softmax."""
    logits = tl.dot(q, tl.trans(k), mask_bias(offset, fill), input_precision=PRECISION)
    higher = tl.maximum(peak, tl.max(logits, 1))
    weight = tl.exp2(tl.fma(logits, unit, (higher * -unit)[:, None])).to(v.dtype)
    shrink = tl.exp2((peak - higher) * unit)[:, None]
    # A sum inside the product would be written while the product of the step before runs: see above.
    total = tl.fma(total, shrink, tl.dot(weight, v, input_precision=PRECISION))
    mass = tl.fma(mass, shrink, tl.dot(weight, ones, input_precision=PRECISION))
    return total, higher, mass


@triton.jit(do_not_specialize=["groups"])
def attention_forward(
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    gate_bias,  # [h d]
    fill, unit,  # [b, g, keys_pitch], [b, g]: see attention_mask_fill
    bias,  # [b, h, n, pitch] or None: added to the logits of every row
    out,  # [b, g, n, h d]: written, gated values
    lse,  # [b, h, g, n] float32: written, log-sum-exp of the logits, base 2
    heads, groups, length,  # h, g and n
    pitch, keys_pitch,  # entries from one row of the bias and of fill to the next, multiples of 16
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    out_b: tl.int64, out_g: tl.int64, out_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    ROWS: tl.constexpr,  # rows of a program, which share each tile of the bias
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    STAGES: tl.constexpr,  # tiles of keys in shared memory at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Attend from BLOCK_M positions of ROWS rows at once; past the last row, that row is computed again."""
    row_groups = tl.cdiv(groups, ROWS)
    block, group, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_M), row_groups, heads)
    first, hd = block * BLOCK_M, heads * DIM
    query = first + tl.arange(0, BLOCK_M)
    packed += b * packed_b + h * DIM
    ones = tl.full((BLOCK_N, 16), 1.0, tl.float32).to(packed.dtype.element_ty)

    sides, fills, units, queries, totals, peaks, masses = (), (), (), (), (), (), ()
    for r in tl.static_range(ROWS):
        row = tl.minimum(group * ROWS + r, groups - 1)
        line = (b * groups + row).to(tl.int64)
        side = packed + row * packed_g
        sides += (side,)
        fills += (fill + line * keys_pitch,)
        units += (tl.load(unit + line),)
        queries += (scaled(load_head(side, first, packed_n, length, BLOCK_M, DIM, WIDTH), DIM**-0.5),)
        totals += (tl.zeros((BLOCK_M, WIDTH), tl.float32),)
        peaks += (tl.full((BLOCK_M,), 2 * MASKED, tl.float32),)
        masses += (tl.zeros((BLOCK_M, 16), tl.float32),)

    for start in tl.range(0, length, BLOCK_N, num_stages=STAGES):
        offset = load_pair_bias(bias, b * heads + h, first, start, length, pitch, BLOCK_M, BLOCK_N)
        new_totals, new_peaks, new_masses = (), (), ()
        for r in tl.static_range(ROWS):
            k = load_head(sides[r] + hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
            v = load_head(sides[r] + 2 * hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
            masked = tl.load(fills[r] + start + tl.arange(0, BLOCK_N))
            total, peak, mass = attend(
                queries[r], k, v, offset, masked, totals[r], peaks[r], masses[r], units[r], ones, PRECISION
            )
            new_totals += (total,)
            new_peaks += (peak,)
            new_masses += (mass,)
        totals, peaks, masses = new_totals, new_peaks, new_masses

    channel = tl.arange(0, WIDTH)
    shift = tl.load(gate_bias + h * DIM + channel, mask=channel < DIM, other=0.0).to(tl.float32)
    for r in tl.static_range(ROWS):
        row = tl.minimum(group * ROWS + r, groups - 1)
        # Where all keys are masked each weight is 1, also past the end.
        mass = tl.where(units[r] > 0, tl.max(masses[r], 1), length)
        gate = load_head(sides[r] + 3 * hd, first, packed_n, length, BLOCK_M, DIM, WIDTH)
        gated = totals[r] / mass[:, None] * tl.sigmoid(gate.to(tl.float32) + shift[None, :])
        store_head(out + b * out_b + row * out_g + h * DIM, first, out_n, length, gated, BLOCK_M, DIM, WIDTH)
        sums = peaks[r] * units[r] + tl.log2(mass)
        tl.store(lse + ((b * heads + h).to(tl.int64) * groups + row) * length + query, sums, mask=query < length)
