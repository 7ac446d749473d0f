"""Gradients of gated attention with pair bias, in three passes over a packed gradient that is written in place.

`gate_backward` brings the gradient in front of the gate; `key_backward` loops over queries for dK and dV;
`query_backward` loops over keys for dQ and, over the rows of its share, adds up the gradient of the bias: a program
owns its strip of queries alone, so that no atomics are needed and the order of every sum is fixed.
"""

# Triton's decorator and kernels carry no types, and its tuples grow.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,assignment"

import triton
import triton.language as tl

from foldcli_kernels.attention_tiles import (
    LOG2E,
    load_bias,
    load_keep,
    load_sums,
    load_tile,
    place,
    store_tile,
)


@triton.jit
def gate_backward(
    grad, packed, gate_bias, out, grad_packed, delta, gate_sums, heads, groups, length, row_groups, rows,
    grad_b: tl.int64, grad_g: tl.int64, grad_n: tl.int64, out_b: tl.int64, out_g: tl.int64, out_n: tl.int64,
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    DIM: tl.constexpr, WIDTH: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Write the gates' gradient, their bias' sums over `rows` rows, delta = sum(dO O), and dO into the place of dQ."""
    block, group, b, h = place(tl.program_id(0), tl.cdiv(length, BLOCK_M), row_groups, heads)
    first, hd = block * BLOCK_M, heads * DIM
    channel, query = tl.arange(0, WIDTH), first + tl.arange(0, BLOCK_M)
    grad += b * grad_b + h * DIM
    out += b * out_b + h * DIM
    gates = packed + b * packed_b + 3 * hd + h * DIM
    grad_packed += b * packed_grad_b + h * DIM
    delta += (b * heads + h).to(tl.int64) * groups * length
    shift = tl.load(gate_bias + h * DIM + channel, mask=channel < DIM, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_M, WIDTH), tl.float32)
    for row in range(group * rows, min(group * rows + rows, groups)):
        after = load_tile(grad + row * grad_g, first, grad_n, length, BLOCK_M, DIM, WIDTH).to(tl.float32)
        value = load_tile(out + row * out_g, first, out_n, length, BLOCK_M, DIM, WIDTH).to(tl.float32)
        gate = load_tile(gates + row * packed_g, first, packed_n, length, BLOCK_M, DIM, WIDTH).to(tl.float32)
        gate = tl.sigmoid(gate + shift[None, :])
        # out holds the gate as a factor: out (1 - gate) is O times the sigmoid's slope, and grad out is dO O.
        product = after * value
        slope = product * (1 - gate)
        total += slope
        to = grad_packed + row * packed_grad_g
        store_tile(to, first, packed_grad_n, length, after * gate, BLOCK_M, DIM, WIDTH)
        store_tile(to + 3 * hd, first, packed_grad_n, length, slope, BLOCK_M, DIM, WIDTH)
        tl.store(delta + row * length + query, tl.sum(product, 1), mask=query < length)
    line = ((b * row_groups + group) * tl.cdiv(length, BLOCK_M) + block).to(tl.int64) * hd + h * DIM
    tl.store(gate_sums + line + channel, tl.sum(total, 0), mask=channel < DIM)


@triton.jit
def key_backward(
    packed, mask, bias, grad_packed, lse, delta, heads, groups, length, pitch,
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,
    DIM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dK and dV of BLOCK_N keys in ROWS rows; all tiles are transposed, so that sums run over their columns."""
    SCALE: tl.constexpr = DIM**-0.5
    UNIT: tl.constexpr = SCALE * LOG2E
    row_groups = tl.cdiv(groups, ROWS)
    block, group, b, h = place(tl.program_id(0), tl.cdiv(length, BLOCK_N), row_groups, heads)
    start, hd = block * BLOCK_N, heads * DIM
    packed += b * packed_b + h * DIM
    grad_packed += b * packed_grad_b + h * DIM
    mask += b * mask_b
    lines = (b * heads + h).to(tl.int64) * groups + group * ROWS

    keys, values, grad_keys, grad_values = (), (), (), ()
    for r in tl.static_range(ROWS):
        row = group * ROWS + r
        limit = tl.where(row < groups, length, 0)
        side = packed + row * packed_g
        keys += (load_tile(side + hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH),)
        values += (load_tile(side + 2 * hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH),)
        grad_keys += (tl.zeros((BLOCK_N, WIDTH), tl.float32),)
        grad_values += (tl.zeros((BLOCK_N, WIDTH), tl.float32),)

    ahead = load_bias(bias, b * heads + h, 0, start, length, pitch, BLOCK_M, BLOCK_N)
    for first in tl.range(0, length, BLOCK_M):
        offset = tl.trans(ahead).to(tl.float32) * (1 / SCALE)
        ahead = load_bias(bias, b * heads + h, first + BLOCK_M, start, length, pitch, BLOCK_M, BLOCK_N)
        query = first + tl.arange(0, BLOCK_M)
        new_keys, new_values = (), ()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            sums, masked = load_sums(lse + (lines + r) * length, first, length, limit, BLOCK_M)
            keep, fill = load_keep(mask + row * mask_g, start, mask_n, limit, BLOCK_N, masked)
            q = load_tile(packed + row * packed_g, first, packed_n, limit, BLOCK_M, DIM, WIDTH)
            grad = load_tile(grad_packed + row * packed_grad_g, first, packed_grad_n, limit, BLOCK_M, DIM, WIDTH)
            inner = tl.load(delta + (lines + r) * length + query, mask=query < limit, other=0.0)
            logits = tl.dot(keys[r], tl.trans(q), offset, input_precision=PRECISION)
            logits = tl.where(keep[:, None], logits, fill[:, None])
            weight = tl.exp2(tl.fma(logits, UNIT, -sums[None, :]))
            new_values += (tl.dot(weight.to(grad.dtype), grad, grad_values[r], input_precision=PRECISION),)
            slope = weight * (tl.dot(values[r], tl.trans(grad), input_precision=PRECISION) - inner[None, :])
            new_keys += (tl.dot(slope.to(q.dtype), q, grad_keys[r], input_precision=PRECISION),)
        grad_keys, grad_values = new_keys, new_values

    for r in tl.static_range(ROWS):
        row = group * ROWS + r
        limit = tl.where(row < groups, length, 0)
        to = grad_packed + row * packed_grad_g
        store_tile(to + hd, start, packed_grad_n, limit, grad_keys[r] * SCALE, BLOCK_N, DIM, WIDTH)
        store_tile(to + 2 * hd, start, packed_grad_n, limit, grad_values[r], BLOCK_N, DIM, WIDTH)


@triton.jit
def query_backward(
    packed, mask, bias, grad_packed, lse, delta, bias_sums, heads, groups, length, pitch, shares, per_share,
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,
    DIM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dQ of BLOCK_M queries over dO, ROWS rows at a time, for a share of `per_share` such groups of rows.

    Where `bias_sums` [b, h, shares, n, pitch] is given, the share's sum of the logits' gradients grows there: each
    tile is added up over ROWS rows in registers first, and only this program touches it.
    """
    SCALE: tl.constexpr = DIM**-0.5
    UNIT: tl.constexpr = SCALE * LOG2E
    block, share, b, h = place(tl.program_id(0), tl.cdiv(length, BLOCK_M), shares, heads)
    first, hd = block * BLOCK_M, heads * DIM
    query = first + tl.arange(0, BLOCK_M)
    packed += b * packed_b + h * DIM
    grad_packed += b * packed_grad_b + h * DIM
    mask += b * mask_b
    head = (b * heads + h).to(tl.int64)
    if bias_sums is not None:
        strip = bias_sums + ((head * shares + share) * length + first) * pitch

    for group in range(share * per_share, min((share + 1) * per_share, tl.cdiv(groups, ROWS))):
        lines = head * groups + group * ROWS
        queries, grads, sums, fills, inners, grad_queries = (), (), (), (), (), ()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            queries += (load_tile(packed + row * packed_g, first, packed_n, limit, BLOCK_M, DIM, WIDTH),)
            at = grad_packed + row * packed_grad_g
            grads += (load_tile(at, first, packed_grad_n, limit, BLOCK_M, DIM, WIDTH),)
            line_sums, masked = load_sums(lse + (lines + r) * length, first, length, limit, BLOCK_M)
            sums += (line_sums,)
            fills += (masked,)
            inners += (tl.load(delta + (lines + r) * length + query, mask=query < limit, other=0.0),)
            grad_queries += (tl.zeros((BLOCK_M, WIDTH), tl.float32),)

        written = tl.where(share * per_share < group, length, 0)  # the first group of rows finds no sums yet
        ahead = load_bias(bias, b * heads + h, first, 0, length, pitch, BLOCK_M, BLOCK_N)
        for start in tl.range(0, length, BLOCK_N):
            offset = ahead.to(tl.float32) * (1 / SCALE)
            ahead = load_bias(bias, b * heads + h, first, start + BLOCK_N, length, pitch, BLOCK_M, BLOCK_N)
            total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
            if bias_sums is not None:
                sums_inside = (query < length)[:, None] & (start + tl.arange(0, BLOCK_N) < pitch)[None, :]
                sums_at = strip + start + (tl.arange(0, BLOCK_M)[:, None] * pitch + tl.arange(0, BLOCK_N)[None, :])
                before = tl.load(sums_at, mask=sums_inside & (query < written)[:, None], other=0.0)
            new_queries = ()
            for r in tl.static_range(ROWS):
                row = group * ROWS + r
                limit = tl.where(row < groups, length, 0)
                side = packed + row * packed_g
                k = load_tile(side + hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
                v = load_tile(side + 2 * hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
                keep, fill = load_keep(mask + row * mask_g, start, mask_n, limit, BLOCK_N, fills[r])
                logits = tl.dot(queries[r], tl.trans(k), offset, input_precision=PRECISION)
                logits = tl.where(keep[None, :], logits, fill[None, :])
                weight = tl.exp2(tl.fma(logits, UNIT, -sums[r][:, None]))
                slope = weight * (tl.dot(grads[r], tl.trans(v), input_precision=PRECISION) - inners[r][:, None])
                new_queries += (tl.dot(slope.to(k.dtype), k, grad_queries[r], input_precision=PRECISION),)
                total += slope
            grad_queries = new_queries
            if bias_sums is not None:
                tl.store(sums_at, before + total, mask=sums_inside)

        # What other threads of this program wrote is read back from here on: dO before dQ, and the sums of the bias.
        tl.debug_barrier()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            to = grad_packed + row * packed_grad_g
            store_tile(to, first, packed_grad_n, limit, grad_queries[r] * SCALE, BLOCK_M, DIM, WIDTH)
