"""Gradients of gated attention with pair bias, in four passes over a packed gradient that is written in place.

The first, `attention_backward_gate`, multiplies the result's gradient by the gate, which gives dO, writes dO where dQ
goes later, and writes the gate's gradient. `attention_backward_dkv` loops over queries for dK and dV,
`attention_backward_dbias` over rows for the gradient of the bias, `attention_backward_dq` over keys for dQ. Each weight
is computed again in all three, from the logits and their log-sum-exp, and every program owns what it writes: no atomics
are needed, and every sum has a fixed order.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.attention.blocks import load_head, load_pair_bias, locate, mask_bias, scaled, store_head


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
    fill, unit,  # [b, g, keys_pitch], [b, g]: see attention_mask_fill
    bias,  # [b, h, n, pitch] or None
    grad_packed,  # [b, g, n, 4 h d]: dO is read in the place of dQ; dK and dV are written
    lse,  # [b, h, g, n] float32: log-sum-exp of the logits, base 2
    delta,  # [b, h, g, n] float32: sum of dO O over a head's channels
    heads, groups, length,  # h, g and n
    pitch, keys_pitch,  # entries from one row of the bias and of fill to the next, multiples of 16
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    STAGES: tl.constexpr,  # steps of the loop whose tiles are in shared memory at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write dK and dV of BLOCK_N keys of a row; all tiles are transposed, so that sums run over their columns.

    The mask is left out of the loop: what masked keys come to is not stored.
    """
    SCALE: tl.constexpr = DIM**-0.5
    block, row, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_N), groups, heads)
    start, hd = block * BLOCK_N, heads * DIM
    packed += b * packed_b + row * packed_g + h * DIM
    grad_packed += b * packed_grad_b + row * packed_grad_g + h * DIM
    mask_line = (b * groups + row).to(tl.int64)
    line = ((b * heads + h).to(tl.int64) * groups + row) * length
    keys = scaled(load_head(packed + hd, start, packed_n, length, BLOCK_N, DIM, WIDTH), SCALE)
    values = load_head(packed + 2 * hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
    factor = tl.load(unit + mask_line)
    masked = tl.load(fill + mask_line * keys_pitch + start + tl.arange(0, BLOCK_N)).to(tl.float32) * factor < 0
    grad_keys = tl.zeros((BLOCK_N, WIDTH), tl.float32)
    grad_values = tl.zeros((BLOCK_N, WIDTH), tl.float32)
    for first in tl.range(0, length, BLOCK_M, num_stages=STAGES):
        query = first + tl.arange(0, BLOCK_M)
        offset = load_pair_bias(bias, b * heads + h, first, start, length, pitch, BLOCK_M, BLOCK_N)
        q = load_head(packed, first, packed_n, length, BLOCK_M, DIM, WIDTH)
        grad = load_head(grad_packed, first, packed_grad_n, length, BLOCK_M, DIM, WIDTH)
        sums = tl.load(lse + line + query, mask=query < length, other=0.0)
        inner = tl.load(delta + line + query, mask=query < length, other=0.0)
        logits = tl.dot(keys, tl.trans(q), tl.trans(offset).to(tl.float32), input_precision=PRECISION)
        weight = tl.exp2(tl.fma(logits, factor, -sums[None, :]))
        grad_values = tl.dot(weight.to(grad.dtype), grad, grad_values, input_precision=PRECISION)
        slope = weight * (tl.dot(values, tl.trans(grad), input_precision=PRECISION) - inner[None, :])
        grad_keys = tl.dot(slope.to(q.dtype), q, grad_keys, input_precision=PRECISION)
    # A masked key's weight may be infinite, so that a product with 0 would not do.
    grad_keys = tl.where(masked[:, None], 0.0, grad_keys * SCALE)
    grad_values = tl.where(masked[:, None], 0.0, grad_values)
    store_head(grad_packed + hd, start, packed_grad_n, length, grad_keys, BLOCK_N, DIM, WIDTH)
    store_head(grad_packed + 2 * hd, start, packed_grad_n, length, grad_values, BLOCK_N, DIM, WIDTH)


@triton.jit(do_not_specialize=["groups", "shares", "per_share"])
def attention_backward_dbias(
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    fill, unit,  # [b, g, keys_pitch], [b, g]: see attention_mask_fill
    bias,  # [b, h, n, pitch]
    grad_packed,  # [b, g, n, 4 h d]: dO is read in the place of dQ
    lse,  # [b, h, g, n] float32: log-sum-exp of the logits, base 2
    delta,  # [b, h, g, n] float32: sum of dO O over a head's channels
    bias_sums,  # [shares, b, h, n, pitch] float32: written, each share's sum over its rows
    heads, groups, length,  # h, g and n
    pitch, keys_pitch,  # entries from one row of the bias and of fill to the next, multiples of 16
    shares,  # in how many shares the rows are divided
    per_share,  # rows of a share
    sums_s: tl.int64,  # stride of bias_sums from share to share
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    STAGES: tl.constexpr,  # steps of the loop whose tiles are in shared memory at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Sum the gradient of BLOCK_M x BLOCK_N entries of the bias over a share of the rows, in registers."""
    SCALE: tl.constexpr = DIM**-0.5
    columns = tl.cdiv(length, BLOCK_N)
    block, share, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_M) * columns, shares, heads)
    first, start, hd = block // columns * BLOCK_M, block % columns * BLOCK_N, heads * DIM
    query, key = first + tl.arange(0, BLOCK_M), start + tl.arange(0, BLOCK_N)
    packed += b * packed_b + h * DIM
    grad_packed += b * packed_grad_b + h * DIM
    head = (b * heads + h).to(tl.int64)
    # Over the scale, since neither queries nor keys are kept from row to row to take it.
    offset = load_pair_bias(bias, b * heads + h, first, start, length, pitch, BLOCK_M, BLOCK_N).to(tl.float32)
    offset *= 1 / SCALE
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for row in tl.range(share * per_share, tl.minimum((share + 1) * per_share, groups), num_stages=STAGES):
        side, mask_line, line = packed + row * packed_g, b * groups + row, (head * groups + row) * length
        q = load_head(side, first, packed_n, length, BLOCK_M, DIM, WIDTH)
        k = load_head(side + hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
        v = load_head(side + 2 * hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
        grad = load_head(grad_packed + row * packed_grad_g, first, packed_grad_n, length, BLOCK_M, DIM, WIDTH)
        sums = tl.load(lse + line + query, mask=query < length, other=0.0)
        inner = tl.load(delta + line + query, mask=query < length, other=0.0)
        masked = tl.load(fill + mask_line.to(tl.int64) * keys_pitch + key).to(tl.float32)
        logits = tl.dot(q, tl.trans(k), offset, input_precision=PRECISION) + masked[None, :]
        weight = tl.exp2(tl.fma(logits, tl.load(unit + mask_line) * SCALE, -sums[:, None]))
        slope = tl.dot(grad, tl.trans(v), input_precision=PRECISION) - inner[:, None]
        total = tl.fma(weight, slope, total)
    to = bias_sums + share * sums_s + (head * length + query[:, None]) * pitch + key[None, :]
    tl.store(to, total, mask=(query < length)[:, None] & (key < pitch)[None, :])


@triton.jit(do_not_specialize=["groups"])
def attention_backward_dq(
    packed,  # [b, g, n, 4 h d]: queries, keys, values and gates side by side
    fill, unit,  # [b, g, keys_pitch], [b, g]: see attention_mask_fill
    bias,  # [b, h, n, pitch] or None
    grad_packed,  # [b, g, n, 4 h d]: dO is read in the place of dQ, then dQ is written there
    lse,  # [b, h, g, n] float32: log-sum-exp of the logits, base 2
    delta,  # [b, h, g, n] float32: sum of dO O over a head's channels
    heads, groups, length,  # h, g and n
    pitch, keys_pitch,  # entries from one row of the bias and of fill to the next, multiples of 16
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,  # strides
    packed_grad_b: tl.int64, packed_grad_g: tl.int64, packed_grad_n: tl.int64,
    DIM: tl.constexpr,  # d: channels of a head
    WIDTH: tl.constexpr,  # those of a tile, 16 or more
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,  # queries and keys of a tile
    STAGES: tl.constexpr,  # steps of the loop whose tiles are in shared memory at once
    PRECISION: tl.constexpr,  # of float32 products
):  # fmt: skip
    """Write dQ of BLOCK_M queries of a row."""
    SCALE: tl.constexpr = DIM**-0.5
    block, row, b, h = locate(tl.program_id(0), tl.cdiv(length, BLOCK_M), groups, heads)
    first, hd = block * BLOCK_M, heads * DIM
    query = first + tl.arange(0, BLOCK_M)
    packed += b * packed_b + row * packed_g + h * DIM
    grad_packed += b * packed_grad_b + row * packed_grad_g + h * DIM
    mask_line = (b * groups + row).to(tl.int64)
    line = ((b * heads + h).to(tl.int64) * groups + row) * length
    queries = scaled(load_head(packed, first, packed_n, length, BLOCK_M, DIM, WIDTH), SCALE)
    grad = load_head(grad_packed, first, packed_grad_n, length, BLOCK_M, DIM, WIDTH)
    sums = tl.load(lse + line + query, mask=query < length, other=0.0)
    inner = tl.load(delta + line + query, mask=query < length, other=0.0)
    factor = tl.load(unit + mask_line)
    grad_queries = tl.zeros((BLOCK_M, WIDTH), tl.float32)
    for start in tl.range(0, length, BLOCK_N, num_stages=STAGES):
        offset = load_pair_bias(bias, b * heads + h, first, start, length, pitch, BLOCK_M, BLOCK_N)
        k = load_head(packed + hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
        v = load_head(packed + 2 * hd, start, packed_n, length, BLOCK_N, DIM, WIDTH)
        masked = tl.load(fill + mask_line * keys_pitch + start + tl.arange(0, BLOCK_N))
        logits = tl.dot(queries, tl.trans(k), mask_bias(offset, masked), input_precision=PRECISION)
        weight = tl.exp2(tl.fma(logits, factor, -sums[:, None]))
        slope = weight * (tl.dot(grad, tl.trans(v), input_precision=PRECISION) - inner[:, None])
        # A sum inside the product would have the assembler serialise all products: see forward.
        product = tl.dot(slope.to(k.dtype), k, input_precision=PRECISION)
        grad_queries = tl.fma(product, SCALE, grad_queries)
    tl.debug_barrier()  # all threads must have read dO before dQ is written over it
    store_head(grad_packed, first, packed_grad_n, length, grad_queries, BLOCK_M, DIM, WIDTH)
