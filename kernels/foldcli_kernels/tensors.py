"""How operators read tensors with any strides: rows of channels, one batch axis, memory order."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

ALIGNMENT = 16  # elements, of which any type has whole vectors of 16 bytes


@dataclass(frozen=True)
class RowLayout:
    """Where the rows of one or more tensors lie: their leading axes as three, so that count = outer * middle * inner.

    strides: (outer, middle, inner) for each tensor, in elements.
    """

    count: int
    middle: int
    inner: int
    strides: tuple[tuple[int, ...], ...]


def memory_order(x: Tensor) -> list[int]:
    """Return the leading axes of x, the one with the largest stride first."""
    return sorted(range(x.dim() - 1), key=x.stride, reverse=True)


def empty_rows(x: Tensor, width: int) -> Tensor:
    """Return uninitialised rows [*b, width] for x [*b, c], dense, in the memory order of those of x."""
    strides = [1] * x.dim()
    step = width
    for axis in reversed(memory_order(x)):
        strides[axis] = step
        step *= max(x.shape[axis], 1)
    return torch.empty_strided((*x.shape[:-1], width), strides, dtype=x.dtype, device=x.device)


def empty_planes(x: Tensor, columns: int) -> Tensor:
    """Return uninitialised [*b, i, j, columns] for x [*b, i, j, c], a plane of i and j for each column.

    Its lines begin at multiples of ALIGNMENT, for those who read the planes in vectors.
    """
    *batch, rows, length, _ = x.shape
    planes = x.new_empty((*batch, columns, rows, -(-length // ALIGNMENT) * ALIGNMENT))
    return planes[..., :length].movedim(-3, -1)


def share_rows(*tensors: Tensor) -> tuple[list[Tensor], RowLayout]:
    """Return all tensors with rows in the memory order of the first; copied where no three strides describe them.

    Row r of what `empty_rows` makes for the first tensor is row r of these.
    """
    order = [*memory_order(tensors[0]), tensors[0].dim() - 1]
    permuted = [x.permute(order) for x in tensors]
    axes = _coalesce(permuted)
    if len(axes) > 3:
        permuted = [x.contiguous() for x in permuted]
        axes = _coalesce(permuted)
    single = (1, (0,) * len(tensors))
    # A single axis is the common case: it comes first, so that the kernels are compiled without divisions.
    axes = axes + [single] * 2 if len(axes) == 1 else [single] * (3 - len(axes)) + axes
    (outer, outer_steps), (middle, middle_steps), (inner, inner_steps) = axes
    strides = tuple(zip(outer_steps, middle_steps, inner_steps, strict=True))
    return permuted, RowLayout(outer * middle * inner, middle, inner, strides)


def readable_beside(written: Sequence[Tensor], *tensors: Tensor) -> list[Tensor]:
    """Return tensors with rows such that `share_rows` copies none of those, in the order of the first, to be written.

    They are copied where no three strides describe all.
    """
    order = [*memory_order(tensors[0]), tensors[0].dim() - 1]
    if len(_coalesce([x.permute(order) for x in (*tensors, *written)])) <= 3:
        return list(tensors)
    back = sorted(range(len(order)), key=order.__getitem__)
    return [x.permute(order).contiguous().permute(back) for x in tensors]


def _coalesce(tensors: Sequence[Tensor]) -> list[tuple[int, tuple[int, ...]]]:
    """Return sizes and strides of the leading axes; neighbours are merged where one stride serves for both."""
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


def one_batch(x: Tensor) -> Tensor:
    """Return x [*b, i, j, c] with one batch axis and channels side by side; a view wherever strides allow."""
    return dense_channels(x.reshape(-1, *x.shape[-3:]))


def refuse_gradient(operation: str, *data: Tensor) -> None:
    """Raise ValueError where a tensor requires a gradient that no kernel computes, such as that of a mask."""
    if torch.is_grad_enabled():
        for tensor in data:
            if tensor.requires_grad:
                raise ValueError(f"{operation}: no gradient for the tensor of shape {tuple(tensor.shape)}")


@triton.jit
def row_offset(row, middle, inner, stride0, stride1, stride2):
    """Return offsets of rows in elements; int64: a packed projection of 2048 x 2048 pairs passes 2^31."""
    outer = (row // (middle * inner)).to(tl.int64) * stride0
    return outer + (row // inner % middle).to(tl.int64) * stride1 + (row % inner).to(tl.int64) * stride2
