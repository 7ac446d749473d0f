"""How the global attention kernels read their tensors, and the logits of masked keys."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.matmul import matmul

# Added to the logits of masked keys, as in foldcli.ops.attention. Finite, so that a column with every key masked
# attends evenly instead of becoming NaN.
MASK_BIAS = tl.constexpr(-1e9)
PADDED_LOGIT = tl.constexpr(-1e30)  # keys past the end: without weight even where all other keys are masked
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def load_channel_rows(x, start, row, step, rows, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """Load rows `step` apart from x + start on, [len(row), BLOCK]; zeros from `rows` and from DIM on."""
    channel = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (channel < DIM)[None, :]
    return tl.load(x + start + row.to(tl.int64)[:, None] * step + channel[None, :], mask=inside, other=0.0)


@triton.jit
def masked_logits(q, k, mask, key, step, keys, scale, zero):
    """Return the logits of all heads for a tile of keys [BLOCK_H, BLOCK_S], in powers of two; zero: a tile of zeros."""
    keep = tl.load(mask + key * step, mask=key < keys, other=0.0).to(tl.float32)
    logits = matmul(q, tl.trans(k), zero) * (scale * LOG2E) + ((keep - 1.0) * (-MASK_BIAS * LOG2E))[None, :]
    return tl.where((key < keys)[None, :], logits, PADDED_LOGIT)
