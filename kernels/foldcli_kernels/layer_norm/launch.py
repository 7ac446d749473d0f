"""Launches the layer norm's kernels."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.layer_norm import backward, forward
from foldcli_kernels.layer_norm.tiles import tile
from foldcli_kernels.shares import add_shares
from foldcli_kernels.tensors import dense_channels, empty_rows, share_rows
from foldcli_kernels.tuning import launch_parameters, size_class


def launch_forward(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return normalised rows in the memory order of x [*b, c]."""
    out = empty_rows(x, x.shape[-1])
    (x,), rows = share_rows(x)
    options = dict(launch_parameters("layer_norm_forward", x.dtype, size_class(rows.count), x.device))
    constants = tile(x.shape[-1], options.pop("elements"))
    grid = (triton.cdiv(rows.count, constants["BLOCK_M"]),)
    with torch.cuda.device_of(x):
        forward.layer_norm_forward[grid](
            x, scale, offset, out, rows.count, rows.middle, rows.inner, *rows.strides[0], x.stride(-1),
            **constants, **options,
        )  # fmt: skip
    return out


def launch_backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of x (in its memory order), and of scale and offset [2, c]."""
    grad_x = empty_rows(x, x.shape[-1])
    (x, grad), rows = share_rows(x, dense_channels(grad))
    options = dict(launch_parameters("layer_norm_backward", x.dtype, size_class(rows.count), x.device))
    constants = tile(x.shape[-1], options.pop("elements"))
    blocks = triton.cdiv(rows.count, constants["BLOCK_M"])
    programs = min(blocks, options.pop("programs"))
    partial = x.new_empty((programs, 2, x.shape[-1]), dtype=torch.float32)
    x_strides, grad_strides = rows.strides
    with torch.cuda.device_of(x):
        backward.layer_norm_backward[(programs,)](
            grad, x, scale, grad_x, partial, rows.count, rows.middle, rows.inner, blocks, *grad_strides,
            *x_strides, x.stride(-1), **constants, **options,
        )  # fmt: skip
    return grad_x, add_shares([partial], scale.dtype).view(2, -1)
