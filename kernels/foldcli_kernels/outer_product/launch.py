"""Launches the outer product's kernel."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.outer_product import forward
from foldcli_kernels.outer_product.backward import EPS
from foldcli_kernels.outer_product.tiles import tile_of
from foldcli_kernels.tensors import one_batch


def launch_forward(
    left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None, count: Tensor, pairs: Tensor | None = None
) -> Tensor:
    """Return the projected mean outer product [*b, i, j, f], added to the pairs if there are any."""
    out = empty_pairs(left, right, weight)
    left, right = one_batch(left), one_batch(right)
    count, weight = count.reshape(-1, *count.shape[-2:]), weight.contiguous()
    batch, sequences, rows, c = left.shape
    length, e = right.shape[-2:]
    pairs = None if pairs is None else one_batch(pairs)
    of_pairs = (0, 0, 0) if pairs is None else pairs.stride()[:3]
    constants, options = tile_of(left, length, (c, e, weight.shape[0]))
    grid = (triton.cdiv(length, constants["TILE_J"]), triton.cdiv(rows, constants["TILE_I"]), batch)
    with torch.cuda.device_of(left):
        forward.outer_product_mean_forward[grid](
            left, right, weight, bias, count, pairs, out, sequences, rows, length,
            *left.stride()[:3], *right.stride()[:3], *count.stride(), *of_pairs, EPS,
            **constants, HAS_BIAS=bias is not None, **options,
        )  # fmt: skip
    return out


def empty_pairs(left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """Return an empty tensor for the result."""
    return left.new_empty((*left.shape[:-3], left.shape[-2], right.shape[-2], weight.shape[0]))
