"""Gradients of global attention: one program has a column to itself, so that no sum is shared."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.global_attention.blocks import load_channel_rows, masked_logits
from foldcli_kernels.matmul import matmul


@triton.jit(do_not_specialize=["columns", "keys"])
def global_attention_backward(
    grad,  # [b, n, h, d]: gradient of the result
    q,  # [b, n, h, d]: queries of n columns
    k, v,  # [b, n, s, d]: keys and values that the heads share
    mask,  # [b, n, s]: 1 where a key may be attended to, else 0
    out,  # [b, n, h, d]: the result, dense
    statistics,  # [b, n, 2, h] float32: largest logit and sum of weights
    grad_q, grad_k, grad_v,  # as q, k and v: written, dense
    columns, keys,  # n and s
    scale,  # of the logits, 1 / sqrt(d)
    grad_b, grad_n, grad_h, q_b, q_n, q_h, k_b, k_n, k_s, v_b, v_n, v_s, mask_b, mask_n, mask_s,  # strides
    HEADS: tl.constexpr, DIM: tl.constexpr,  # h and d
    BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,  # those of a tile, 16 or more
    BLOCK_S: tl.constexpr,  # keys taken at once
):  # fmt: skip
    """Write the gradients of one column."""
    program = tl.program_id(0).to(tl.int64)
    batch, column = program // columns, program % columns
    head, channel = tl.arange(0, BLOCK_H), tl.arange(0, BLOCK_D)
    queries = load_channel_rows(q, batch * q_b + column * q_n, head, q_h, HEADS, DIM, BLOCK_D)
    incoming = load_channel_rows(grad, batch * grad_b + column * grad_n, head, grad_h, HEADS, DIM, BLOCK_D)
    result = load_channel_rows(out, program * (HEADS * DIM), head, DIM, HEADS, DIM, BLOCK_D)
    inner = tl.sum(incoming.to(tl.float32) * result.to(tl.float32), axis=1)
    line = statistics + program * (2 * HEADS) + head
    highest = tl.load(line, mask=head < HEADS, other=0.0)
    # Zero for heads that pad the tile, which keeps them out of the keys' and values' sums over heads.
    share = tl.where(head < HEADS, 1.0 / tl.load(line + HEADS, mask=head < HEADS, other=1.0), 0.0)
    total = tl.zeros([BLOCK_H, BLOCK_D], tl.float32)
    for start in range(0, keys, BLOCK_S):
        key = start + tl.arange(0, BLOCK_S)
        block = load_channel_rows(k, batch * k_b + column * k_n, key, k_s, keys, DIM, BLOCK_D)
        values = load_channel_rows(v, batch * v_b + column * v_n, key, v_s, keys, DIM, BLOCK_D)
        zero = tl.zeros([BLOCK_H, BLOCK_S], tl.float32)
        logits = masked_logits(queries, block, mask + batch * mask_b + column * mask_n, key, mask_s, keys, scale, zero)
        weight = tl.exp2(logits - highest[:, None]) * share[:, None]
        slope = weight * (matmul(incoming, tl.trans(values), zero) - inner[:, None]) * scale
        empty = tl.zeros([BLOCK_S, BLOCK_D], tl.float32)
        new_keys = matmul(tl.trans(slope.to(queries.dtype)), queries, empty)
        new_values = matmul(tl.trans(weight.to(queries.dtype)), incoming, empty)
        total = matmul(slope.to(block.dtype), block, total)
        inside = (key < keys)[:, None] & (channel < DIM)[None, :]
        target = (program * keys + key)[:, None] * DIM + channel[None, :]
        tl.store(grad_k + target, new_keys.to(grad_k.dtype.element_ty), mask=inside)
        tl.store(grad_v + target, new_values.to(grad_v.dtype.element_ty), mask=inside)
    target = program * (HEADS * DIM) + head[:, None] * DIM + channel[None, :]
    tl.store(
        grad_q + target, total.to(grad_q.dtype.element_ty), mask=(head < HEADS)[:, None] & (channel < DIM)[None, :]
    )
