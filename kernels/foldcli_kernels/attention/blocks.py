"""How the attention kernels read blocks of heads, biases and masks."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.matmul import INTERPRETED

# Added to the logits of keys that may not be attended to: finite, so that no sum becomes NaN, and in fp16's range.
MASKED = tl.constexpr(-(2.0**15))
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
def scaled(tile, SCALE: tl.constexpr):
    """Return queries, or keys, times the scale of the logits, rounded to their own type as plain PyTorch does."""
    return (tile.to(tl.float32) * SCALE).to(tile.dtype)


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
def mask_bias(offset, fill):
    """Return a tile of the bias plus what its keys' mask adds, in float32; half precision is added in pairs."""
    if INTERPRETED:  # Triton's interpreter adds the bit patterns of bfloat16.
        offset = offset.to(tl.float32)
        fill = fill.to(tl.float32)
    return (offset + fill[None, :]).to(tl.float32)


@triton.jit
def locate(program, blocks, row_groups, heads):
    """Return a program's block of positions, group of rows, batch entry and head.

    Neighbours share a head, so that its whole bias stays in the L2 cache while every row passes over it.
    """
    rest = program // blocks
    batch_head = rest // row_groups
    return program % blocks, rest % row_groups, batch_head // heads, batch_head % heads
