"""Launches the dropout kernel."""

import math

import torch
import triton
from torch import Tensor

from foldcli_kernels.dropout import kernel
from foldcli_kernels.dropout.tiles import tile_of

BITS = 24  # of a random number that are compared with the rate: foldcli.ops.dropout.BITS


def launch(x: Tensor | None, update: Tensor, seed: Tensor, rate: float, shared: int, out: Tensor) -> Tensor:
    """Write x (if any) + update with dropout into out, which has the axes of both."""
    shared %= update.dim()
    into = _five_axes(out, shared)
    given = _five_axes(update, shared)
    base = given if x is None else _five_axes(x, shared)
    outer, second, length, between, channels = given.shape
    (block_m, block_s, steps), options = tile_of(update, length)
    grid = (outer * second * triton.cdiv(between * channels, block_m), triton.cdiv(length, block_s * steps))
    with torch.cuda.device_of(update):
        kernel.dropout_apply_mask[grid](
            base, given, into, seed, round(rate * 2**BITS), 1 / (1 - rate), second, length, between, channels,
            *base.stride(), *given.stride(), *into.stride(),
            x is not None, block_m, block_s, steps, **options,
        )  # fmt: skip
    # `into` is a view of `out`, unless its strides allow none.
    return out if into.data_ptr() == out.data_ptr() else out.copy_(into.view(out.shape))


def _five_axes(x: Tensor, shared: int) -> Tensor:
    """Return x as [outer, second, shared, between, channels]: a view, or a copy where its strides do not allow one."""
    outer, second = x.shape[: max(shared - 1, 0)], x.shape[shared - 1 : shared]
    between = x.shape[shared + 1 : -1]
    return x.reshape(
        math.prod(outer), math.prod(second), x.shape[shared], math.prod(between), x.shape[-1]
    )  # fmt: skip
