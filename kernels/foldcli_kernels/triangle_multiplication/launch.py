"""What launches of both halves of triangle multiplication share: padded rows, views, shares of a weight's gradient."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.norm_linear.tiles import PROGRAMS
from foldcli_kernels.shares import sections
from foldcli_kernels.tensors import ALIGNMENT
from foldcli_kernels.triangle_multiplication.projection import triangle_projection_gradients
from foldcli_kernels.triangle_multiplication.tiles import PROJECTION


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


def projection_gradients(sums: Tensor, weight: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return, in one flat tensor, the gradients of a projection's weight and bias, and of the norm's scale and offset.

    sums: flat, over all pairs: of output gradients times standardised inputs [out, in], then of output gradients [out].
    """
    out, width = weight.shape
    grads = weight.new_empty(gradient_size(weight))
    with torch.cuda.device_of(weight):
        triangle_projection_gradients[(triton.cdiv(width, PROJECTION["BLOCK_C"]),)](
            sums, weight.contiguous(), scale, offset, grads, out, width, **PROJECTION, num_warps=4, num_stages=2
        )
    return grads


def gradient_size(weight: Tensor) -> int:
    """Return how many numbers `projection_gradients` returns for a weight [out, in]."""
    out, width = weight.shape
    return out * width + out + 2 * width


def split_gradients(grads: Tensor, weight: Tensor) -> list[Tensor]:
    """Return what `projection_gradients` found as views: of weight, bias, scale and offset."""
    out, width = weight.shape
    return sections(grads, [(out, width), (out,), (width,), (width,)])
