"""How the attention kernels read blocks of heads, masks and biases, and what masked keys have for logits."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

# The logit of a masked key, in place of its own: a power of two, so that times the logits' scale it is exact, and a row
# with masked keys alone has the weight exp2(0) throughout. (Other bodies add MASK_BIAS to the logits of such keys.)
MASKED_LOGIT = tl.constexpr(-(2.0**30))
PADDED_LOGIT = tl.constexpr(-(2.0**32))  # keys past the end: without weight even where all other keys are masked
ALL_MASKED = tl.constexpr(1e30)  # stands for the log-sum-exp of a row whose keys are all masked
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def load_head(pointer, start, stride, limit, SIZE: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr):
    """Load positions start to start + SIZE of one head, [SIZE, WIDTH]; zeros from `limit` and from DIM on."""
    position, channel = tl.arange(0, SIZE), tl.arange(0, WIDTH)
    inside = (start + position < limit)[:, None]
    if DIM < WIDTH:
        inside = inside & (channel < DIM)[None, :]
    return tl.load(pointer + start * stride + (position[:, None] * stride + channel[None, :]), mask=inside, other=0.0)


@triton.jit
def store_head(pointer, start, stride, limit, tile, SIZE: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr):
    """Store a tile where `load_head` would load it from, cast to the pointer's type."""
    position, channel = tl.arange(0, SIZE), tl.arange(0, WIDTH)
    inside = (start + position < limit)[:, None]
    if DIM < WIDTH:
        inside = inside & (channel < DIM)[None, :]
    to = pointer + start * stride + (position[:, None] * stride + channel[None, :])
    tl.store(to, tile.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def load_key_mask(mask, start, stride, limit, SIZE: tl.constexpr, masked):
    """Load which of SIZE keys may be attended to, and the logits of the others: `masked`, past the end PADDED_LOGIT."""
    key = start + tl.arange(0, SIZE)
    keep = tl.load(mask + key * stride, mask=key < limit, other=0) != 0
    return keep, tl.where(key < limit, masked, PADDED_LOGIT)


@triton.jit
def load_log_sums(lse, first, length, limit, SIZE: tl.constexpr):
    """Load the log-sum-exps of SIZE queries, zeros from `limit`, and the logit that masked keys had in that row.

    A row with masked keys alone attends evenly, as though all its logits were 0.
    """
    query = first + tl.arange(0, SIZE)
    all_masked = tl.load(lse, mask=limit > 0, other=0.0) >= ALL_MASKED
    sums = tl.load(lse + query, mask=query < limit, other=0.0)
    evenly = tl.log2(tl.zeros((SIZE,), tl.float32) + length)
    return tl.where(all_masked, evenly, sums), tl.where(all_masked, 0.0, MASKED_LOGIT)


@triton.jit
def load_pair_bias(bias, batch_head, first, start, length, pitch, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Load the bias of BLOCK_M queries and BLOCK_N keys of one head, from rows `pitch` apart; zeros without a bias."""
    if bias is None:
        tile = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    else:
        query, key = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
        inside = (first + query < length)[:, None] & (start + key < pitch)[None, :]
        corner = bias + (batch_head.to(tl.int64) * length + first) * pitch + start
        tile = tl.load(corner + (query[:, None] * pitch + key[None, :]), mask=inside, other=0.0)
    return tile


@triton.jit
def locate(program, blocks, row_groups, heads):
    """Return a program's block of positions, group of rows, batch entry and head.

    Neighbours share a head, so that its whole bias stays in the L2 cache while every row passes over it.
    """
    rest = program // blocks
    batch_head = rest // row_groups
    return program % blocks, rest % row_groups, batch_head // heads, batch_head % heads
