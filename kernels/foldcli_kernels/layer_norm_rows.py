"""Where rows of channels lie in memory, and their statistics: for every kernel that begins with a layer norm."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

EPS = tl.constexpr(1e-5)  # foldcli.ops.dense.LAYER_NORM_EPS; the tests compare with that


@dataclass(frozen=True)
class Rows:
    """Rows of one or more tensors that share their leading axes, coalesced to three: count = outer * middle * inner.

    strides: three for each tensor, in elements.
    """

    count: int
    middle: int
    inner: int
    strides: tuple[tuple[int, ...], ...]


def memory_order(x: Tensor) -> list[int]:
    """Leading axes of x, the one with the largest stride first."""
    return sorted(range(x.dim() - 1), key=x.stride, reverse=True)


def empty_rows(x: Tensor, width: int) -> Tensor:
    """Uninitialised rows [*b, width] for x [*b, c], dense, in the memory order of those of x."""
    strides = [1] * x.dim()
    step = width
    for axis in reversed(memory_order(x)):
        strides[axis] = step
        step *= max(x.shape[axis], 1)
    return torch.empty_strided((*x.shape[:-1], width), strides, dtype=x.dtype, device=x.device)


def share_rows(*tensors: Tensor) -> tuple[list[Tensor], Rows]:
    """Rows of all tensors in the memory order of the first; copied where no three strides describe them.

    What `empty_rows` makes for the first lies in that very order: its row number r is the r-th of these.
    """
    order = [*memory_order(tensors[0]), tensors[0].dim() - 1]
    permuted = [x.permute(order) for x in tensors]
    axes = _coalesce(permuted)
    if len(axes) > 3:
        permuted = [x.contiguous() for x in permuted]
        axes = _coalesce(permuted)
    still = (1, (0,) * len(tensors))
    # A single axis is the common case: it comes first, so that the kernels are compiled without divisions.
    axes = axes + [still] * 2 if len(axes) == 1 else [still] * (3 - len(axes)) + axes
    (outer, outer_steps), (middle, middle_steps), (inner, inner_steps) = axes
    strides = tuple(zip(outer_steps, middle_steps, inner_steps, strict=True))
    return permuted, Rows(outer * middle * inner, middle, inner, strides)


def _coalesce(tensors: Sequence[Tensor]) -> list[tuple[int, tuple[int, ...]]]:
    """Sizes and strides of the leading axes, neighbours merged where every tensor steps through both evenly."""
    merged: list[tuple[int, tuple[int, ...]]] = []
    for axis, size in enumerate(tensors[0].shape[:-1]):
        strides = tuple(x.stride(axis) for x in tensors)
        if size == 1:
            continue
        if merged and merged[-1][1] == tuple(size * step for step in strides):
            merged[-1] = (merged[-1][0] * size, strides)
        else:
            merged.append((size, strides))
    return merged or [(1, (0,) * len(tensors))]


def dense_channels(x: Tensor) -> Tensor:
    """Return x itself where its channels lie side by side, else a copy in the memory order of its rows."""
    if x.stride(-1) == 1 or x.shape[-1] == 1:
        return x
    order = [*memory_order(x), x.dim() - 1]
    back = sorted(range(x.dim()), key=order.__getitem__)
    return x.permute(order).contiguous().permute(back)


@triton.jit
def row_offset(row, middle, inner, stride0, stride1, stride2):
    """Offsets of rows in elements; int64: a packed projection of 2048 x 2048 pairs passes 2^31."""
    outer = (row // (middle * inner)).to(tl.int64) * stride0
    return outer + (row // inner % middle).to(tl.int64) * stride1 + (row % inner).to(tl.int64) * stride2


@triton.jit
def standardise(x, WIDTH: tl.constexpr, BLOCK_C: tl.constexpr):
    """Rows of float32 channels, zero beyond WIDTH, brought to mean 0 and variance 1; and their 1 / deviation."""
    centred = x - (tl.sum(x, axis=1) / WIDTH)[:, None]
    if BLOCK_C != WIDTH:
        centred = tl.where((tl.arange(0, BLOCK_C) < WIDTH)[None, :], centred, 0.0)
    reciprocal = tl.rsqrt(tl.sum(centred * centred, axis=1) / WIDTH + EPS)
    return centred * reciprocal[:, None], reciprocal


@triton.jit
def standardise_backward(grad, standard, reciprocal, WIDTH: tl.constexpr):
    """Gradient of the rows that `standardise` was given, from that of its result; both zero beyond WIDTH."""
    along = tl.sum(grad * standard, axis=1) / WIDTH
    mean = tl.sum(grad, axis=1) / WIDTH
    return (grad - mean[:, None] - standard * along[:, None]) * reciprocal[:, None]
