"""Global attention, forward (Suppl. Alg. 19): online softmax over the keys of a column.

A byte of keys and values meets 16 FLOPs, far below the ridge of the roofline, so one program reads a column once, for
all heads together, and matrix products are padded to the least that the hardware has.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.global_attention.blocks import PADDED_LOGIT, load_channel_rows, masked_logits
from foldcli_kernels.matmul import matmul


@triton.jit(do_not_specialize=["columns", "keys"])
def global_attention_forward(
    q,  # [b, n, h, d]: queries of n columns
    k, v,  # [b, n, s, d]: keys and values that the heads share
    mask,  # [b, n, s]: 1 where a key may be attended to, else 0
    out,  # [b, n, h, d]: written, dense
    statistics,  # [b, n, 2, h] float32: written, largest logit and sum of weights, for the gradient
    columns, keys,  # n and s
    scale,  # of the logits, 1 / sqrt(d)
    q_b, q_n, q_h, k_b, k_n, k_s, v_b, v_n, v_s, mask_b, mask_n, mask_s,  # strides
    HEADS: tl.constexpr, DIM: tl.constexpr,  # h and d
    BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr,  # those of a tile, 16 or more
    BLOCK_S: tl.constexpr,  # keys taken at once
):  # fmt: skip
    """Attend from all heads of one column."""
    program = tl.program_id(0).to(tl.int64)
    batch, column = program // columns, program % columns
    head = tl.arange(0, BLOCK_H)
    queries = load_channel_rows(q, batch * q_b + column * q_n, head, q_h, HEADS, DIM, BLOCK_D)
    highest = tl.full([BLOCK_H], PADDED_LOGIT, tl.float32)
    total = tl.zeros([BLOCK_H], tl.float32)
    result = tl.zeros([BLOCK_H, BLOCK_D], tl.float32)
    for start in range(0, keys, BLOCK_S):
        key = start + tl.arange(0, BLOCK_S)
        block = load_channel_rows(k, batch * k_b + column * k_n, key, k_s, keys, DIM, BLOCK_D)
        values = load_channel_rows(v, batch * v_b + column * v_n, key, v_s, keys, DIM, BLOCK_D)
        zero = tl.zeros([BLOCK_H, BLOCK_S], tl.float32)
        logits = masked_logits(queries, block, mask + batch * mask_b + column * mask_n, key, mask_s, keys, scale, zero)
        before = highest
        highest = tl.maximum(before, tl.max(logits, axis=1))
        weight = tl.exp2(logits - highest[:, None])
        shrink = tl.exp2(before - highest)
        total = total * shrink + tl.sum(weight, axis=1)
        result = matmul(weight.to(values.dtype), values, result * shrink[:, None])
    channel = tl.arange(0, BLOCK_D)
    target = program * (HEADS * DIM) + head[:, None] * DIM + channel[None, :]
    tl.store(
        out + target,
        (result / total[:, None]).to(out.dtype.element_ty),
        mask=(head < HEADS)[:, None] & (channel < DIM)[None, :],
    )
    # Separate, not as one log-sum-exp: added to -1e9, where all keys are masked, the sum would be lost to rounding.
    line = statistics + program * (2 * HEADS) + head
    tl.store(line, highest, mask=head < HEADS)
    tl.store(line + HEADS, total, mask=head < HEADS)
