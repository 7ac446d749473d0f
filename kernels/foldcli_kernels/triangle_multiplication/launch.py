"""What launches of both halves of triangle multiplication share: padded rows, views, shares of a weight's gradient."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.norm_linear.tiles import PROGRAMS
from foldcli_kernels.tensors import ALIGNMENT, rounded


def padded_length(length: int) -> int:
    """Round the length of a row of pairs up to whole vectors."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def tile_count(x: Tensor, block_p: int) -> int:
    """Return how many tiles cover the pairs of one batch entry; x: [b, i, k, ...]."""
    return triton.cdiv(x.shape[1] * padded_length(x.shape[2]), block_p)


def channel_planes(x: Tensor) -> Tensor:
    """Return channel-major pairs [*b, c, i, k] with one batch axis and k side by side; a view where strides allow."""
    x = x.reshape(-1, *x.shape[-3:])
    return x if x.stride(-1) == 1 else x.contiguous()


def programs_for(count: int, columns: int) -> int:
    """Return among how many programs a weight's gradient shares its tiles of pairs; columns: blocks of the weight.

    Enough for two on each multiprocessor of the largest device, with at least eight tiles each. It depends on the shape
    alone, so that sums have the same order on every device.
    """
    return max(1, min(PROGRAMS // columns, count // 8))


def projection_gradients(partial: Tensor, sums: Tensor, weight: Tensor, norm: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return the gradients of a projection's weight and bias, and of scale and offset of the layer norm before it.

    partial [p, out, in] sums, over p programs, the products of output gradients with standardised inputs, and sums
    [p, out] the output gradients; with y = standard * scale + offset all four follow from these two.
    """
    scale, offset = norm
    along, total = partial.sum(0), sums.sum(0)
    # float32, in which the products with both sums are
    grad_weight = torch.addcmul(along * scale, total[:, None], offset)
    grad_scale = (along * weight).sum(0)
    grad_offset = (total[:, None] * weight).sum(0)
    return rounded([grad_weight, total, grad_scale, grad_offset], weight.dtype)
