"""Gradients of gated attention with pair bias, in three passes over a packed gradient that is written in place.

The first, `attention_backward_gate`, multiplies the result's gradient by the gate, which gives dO, writes dO where dQ
goes later, and writes the gate's gradient. `attention_backward_dkv` loops over queries for dK and dV.
`attention_backward_dq` loops over keys for dQ and adds up the gradient of the bias over its share of the rows: a
program owns its strip of queries alone, so that no atomics are needed and every sum has a fixed order.
"""

# Triton's decorator and kernels carry no types, and its tuples grow.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,assignment"

import triton
import triton.language as tl

from foldcli_kernels.attention.blocks import (
    LOG2E,
    load_head,
    load_key_mask,
    load_log_sums,
    load_pair_bias,
    locate,
    store_head,
)


@triton.jit(do_not_specialize=["groups", "row_groups", "rows"])
def attention_backward_gate(
    grad,  # [b, g, n, h d]: gradient of the result
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    gate_bias,  # [h d]
    out,  # [b, g, n, h d]: the result
    grad_packed,  # [b, g, n, 4 h d]: gates' gradient is written, and dO in the place of dQ
    delta,  # [b, h, g, n] float32: written, sum of dO O over a head's channels
    gate_sums,  # [b row_groups blocks, h d] float32: written, each program's share of the gradient of gate_bias
    heads, groups, length,  # h, g and n
    row_groups,  # how many groups of `rows` rows there are
    rows,  # of one program
    grad_b: tl.int64, grad_g: tl.int64, grad_n: tl.int64,  # strides
    out_b: tl.int64, out_g: tl.int64, out_n: tl.int64,
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    BLOCK_M: tl.constexpr,  # positions of a program
):  # fmt: skip
    """Write dO, the gradient of the gates and `delta` for BLOCK_M positions."""
    block, group, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_M), row_groups, heads)
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
        after = load_head(grad + row * grad_g, first, grad_n, length, BLOCK_M, DIM, WIDTH).to(tl.float32)
        value = load_head(out + row * out_g, first, out_n, length, BLOCK_M, DIM, WIDTH).to(tl.float32)
        gate = load_head(gates + row * packed_g, first, packed_n, length, BLOCK_M, DIM, WIDTH).to(tl.float32)
        gate = tl.sigmoid(gate + shift[None, :])
        # out is O times the gate: out (1 - gate) is O times the sigmoid's derivative, and grad out is dO O.
        product = after * value
        slope = product * (1 - gate)
        total += slope
        to = grad_packed + row * packed_grad_g
        store_head(to, first, packed_grad_n, length, after * gate, BLOCK_M, DIM, WIDTH)
        store_head(to + 3 * hd, first, packed_grad_n, length, slope, BLOCK_M, DIM, WIDTH)
        tl.store(delta + row * length + query, tl.sum(product, 1), mask=query < length)
    line = ((b * row_groups + group) * tl.cdiv(length, BLOCK_M) + block).to(tl.int64) * hd + h * DIM
    tl.store(gate_sums + line + channel, tl.sum(total, 0), mask=channel < DIM)


@triton.jit(do_not_specialize=["groups"])
def attention_backward_dkv(
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    mask,  # [b, g, n]: not 0 where a key may be attended to
    bias,  # [b, h, n, pitch] or None
    grad_packed,  # [b, g, n, 4 h d]: dO is read in the place of dQ; dK and dV are written
    lse,  # [b, h, g, n] float32: log-sum-exp of the logits, base 2
    delta,  # [b, h, g, n] float32: sum of dO O over a head's channels
    heads, groups, length,  # h, g and n
    pitch,  # entries from one row of the bias to the next, a multiple of 16
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    ROWS: tl.constexpr,  # rows of a program, which share each tile of the bias
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write dK and dV of BLOCK_N keys in ROWS rows; all tiles are transposed, so that sums run over their columns."""
    SCALE: tl.constexpr = DIM**-0.5
    UNIT: tl.constexpr = SCALE * LOG2E
    row_groups = tl.cdiv(groups, ROWS)
    block, group, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_N), row_groups, heads)
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
        keys += (load_head(side + hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH),)
        values += (load_head(side + 2 * hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH),)
        grad_keys += (tl.zeros((BLOCK_N, WIDTH), tl.float32),)
        grad_values += (tl.zeros((BLOCK_N, WIDTH), tl.float32),)

    ahead = load_pair_bias(bias, b * heads + h, 0, start, length, pitch, BLOCK_M, BLOCK_N)
    for first in tl.range(0, length, BLOCK_M):
        offset = tl.trans(ahead).to(tl.float32) * (1 / SCALE)
        ahead = load_pair_bias(bias, b * heads + h, first + BLOCK_M, start, length, pitch, BLOCK_M, BLOCK_N)
        query = first + tl.arange(0, BLOCK_M)
        new_keys, new_values = (), ()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            sums, masked = load_log_sums(lse + (lines + r) * length, first, length, limit, BLOCK_M)
            keep, fill = load_key_mask(mask + row * mask_g, start, mask_n, limit, BLOCK_N, masked)
            q = load_head(packed + row * packed_g, first, packed_n, limit, BLOCK_M, DIM, WIDTH)
            grad = load_head(grad_packed + row * packed_grad_g, first, packed_grad_n, limit, BLOCK_M, DIM, WIDTH)
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
        store_head(to + hd, start, packed_grad_n, limit, grad_keys[r] * SCALE, BLOCK_N, DIM, WIDTH)
        store_head(to + 2 * hd, start, packed_grad_n, limit, grad_values[r], BLOCK_N, DIM, WIDTH)


@triton.jit(do_not_specialize=["groups", "shares", "per_share"])
def attention_backward_dq(
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    mask,  # [b, g, n]: not 0 where a key may be attended to
    bias,  # [b, h, n, pitch] or None
    grad_packed,  # [b, g, n, 4 h d]: dO is read in the place of dQ, then dQ is written there
    lse,  # [b, h, g, n] float32: log-sum-exp of the logits, base 2
    delta,  # [b, h, g, n] float32: sum of dO O over a head's channels
    bias_sums,  # [b, h, shares, n, pitch] float32 or None: written, each share's sum of the logits' gradients
    heads, groups, length,  # h, g and n
    pitch,  # entries from one row of the bias to the next, a multiple of 16
    shares,  # in how many shares the groups of ROWS rows are divided
    per_share,  # groups of rows in a share
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    ROWS: tl.constexpr,  # rows of a program, which share each tile of the bias
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write dQ of BLOCK_M queries, ROWS rows at a time, for one share of the rows.

    A tile of the bias's gradient is added up over ROWS rows in registers first, and only this program touches it.
    """
    SCALE: tl.constexpr = DIM**-0.5
    UNIT: tl.constexpr = SCALE * LOG2E
    block, share, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_M), shares, heads)
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
            queries += (load_head(packed + row * packed_g, first, packed_n, limit, BLOCK_M, DIM, WIDTH),)
            at = grad_packed + row * packed_grad_g
            grads += (load_head(at, first, packed_grad_n, limit, BLOCK_M, DIM, WIDTH),)
            line_sums, masked = load_log_sums(lse + (lines + r) * length, first, length, limit, BLOCK_M)
            sums += (line_sums,)
            fills += (masked,)
            inners += (tl.load(delta + (lines + r) * length + query, mask=query < limit, other=0.0),)
            grad_queries += (tl.zeros((BLOCK_M, WIDTH), tl.float32),)

        written = tl.where(share * per_share < group, length, 0)  # nothing is there to read for the first group of rows
        ahead = load_pair_bias(bias, b * heads + h, first, 0, length, pitch, BLOCK_M, BLOCK_N)
        for start in tl.range(0, length, BLOCK_N):
            offset = ahead.to(tl.float32) * (1 / SCALE)
            ahead = load_pair_bias(bias, b * heads + h, first, start + BLOCK_N, length, pitch, BLOCK_M, BLOCK_N)
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
                k = load_head(side + hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
                v = load_head(side + 2 * hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
                keep, fill = load_key_mask(mask + row * mask_g, start, mask_n, limit, BLOCK_N, fills[r])
                logits = tl.dot(queries[r], tl.trans(k), offset, input_precision=PRECISION)
                logits = tl.where(keep[None, :], logits, fill[None, :])
                weight = tl.exp2(tl.fma(logits, UNIT, -sums[r][:, None]))
                slope = weight * (tl.dot(grads[r], tl.trans(v), input_precision=PRECISION) - inners[r][:, None])
                new_queries += (tl.dot(slope.to(k.dtype), k, grad_queries[r], input_precision=PRECISION),)
                total += slope
            grad_queries = new_queries
            if bias_sums is not None:
                tl.store(sums_at, before + total, mask=sums_inside)

        # All threads must have read dO before dQ is written over it, and written the bias's sums before they are read.
        tl.debug_barrier()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            to = grad_packed + row * packed_grad_g
            store_head(to, first, packed_grad_n, limit, grad_queries[r] * SCALE, BLOCK_M, DIM, WIDTH)
