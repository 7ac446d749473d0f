"""What the forward and backward attention kernels share: how a tile is read, and how masked keys are filled."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl
from torch import Tensor

# A power of two: times the logits' scale it is exact, so that a row of masked keys alone has p = exp2(0) throughout.
MASKED = tl.constexpr(-(2.0**30))
BEYOND = tl.constexpr(-(2.0**32))  # keys past the end: nothing even beside masked keys
DEAD = tl.constexpr(1e30)  # stands for the log-sum-exp of a row without a key that may be attended to
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def load_tile(pointer, start, stride, limit, SIZE: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr):
    """Load positions start to start + SIZE of one head, [SIZE, WIDTH]; zeros from `limit` and from DIM on."""
    position, channel = tl.arange(0, SIZE), tl.arange(0, WIDTH)
    inside = (start + position < limit)[:, None]
    if DIM < WIDTH:
        inside = inside & (channel < DIM)[None, :]
    return tl.load(pointer + start * stride + (position[:, None] * stride + channel[None, :]), mask=inside, other=0.0)


@triton.jit
def store_tile(pointer, start, stride, limit, tile, SIZE: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr):
    """Store a tile where `load_tile` would load it from, cast to the pointer's type."""
    position, channel = tl.arange(0, SIZE), tl.arange(0, WIDTH)
    inside = (start + position < limit)[:, None]
    if DIM < WIDTH:
        inside = inside & (channel < DIM)[None, :]
    to = pointer + start * stride + (position[:, None] * stride + channel[None, :])
    tl.store(to, tile.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def load_keep(mask, start, stride, limit, SIZE: tl.constexpr, masked):
    """Load which of SIZE keys may be attended to, and the logits of those that may not: `masked`, BEYOND the end."""
    key = start + tl.arange(0, SIZE)
    keep = tl.load(mask + key * stride, mask=key < limit, other=0) != 0
    return keep, tl.where(key < limit, masked, BEYOND)


@triton.jit
def load_sums(lse, first, length, limit, SIZE: tl.constexpr):
    """Load log-sum-exps of SIZE queries, zeros from `limit`, and what the logits of masked keys were in that row.

    A row of masked keys alone attends evenly, as though its logits were all 0.
    """
    query = first + tl.arange(0, SIZE)
    dead = tl.load(lse, mask=limit > 0, other=0.0) >= DEAD
    sums = tl.load(lse + query, mask=query < limit, other=0.0)
    return tl.where(dead, tl.log2(tl.zeros((SIZE,), tl.float32) + length), sums), tl.where(dead, 0.0, MASKED)


@triton.jit
def load_bias(bias, batch_head, first, start, length, pitch, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
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
def place(program, blocks, row_groups, heads):
    """Return a program's block of positions, group of rows, batch entry and head.

    Neighbours share a head, so that its whole bias stays in the L2 cache while every row passes over it.
    """
    rest = program // blocks
    batch_head = rest // row_groups
    return program % blocks, rest % row_groups, batch_head // heads, batch_head % heads


def padded_bias(bias: Tensor | None) -> Tensor | None:
    """Return the bias [b, h, n, n] in rows of a multiple of 16 entries, which vector loads need."""
    if bias is None:
        return None
    spare = -bias.shape[-1] % 16
    # contiguous after padding too: pad keeps the strides of a view with heads moved to the front
    return (torch.nn.functional.pad(bias, (0, spare)) if spare else bias).contiguous()


def rows_adjacent(tensor: Tensor) -> Tensor:
    """Return the tensor with channels adjacent in memory; a copy only if they are not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def plain_mask(mask: Tensor) -> Tensor:
    """Return the mask in a type that kernels can load."""
    return mask.view(torch.uint8) if mask.dtype == torch.bool else mask
