"""Launches the transition's kernels."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.matmul import float32_precision
from foldcli_kernels.norm_linear.launch import Added
from foldcli_kernels.norm_linear.tiles import PROGRAMS
from foldcli_kernels.shares import add_shares
from foldcli_kernels.tensors import dense_channels, empty_rows, readable_beside, share_rows
from foldcli_kernels.transition import backward, forward
from foldcli_kernels.transition.tiles import tile_of


def launch_forward(
    x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, contract_bias: Tensor | None, added: Added | None = None,
) -> Tensor:  # fmt: skip
    """Return the update of each row, in the memory order of x [*b, c]; expand [h, c], contract [c, h].

    added: an update that comes first; then the result is x with both updates.
    """
    hidden, width = expand.shape
    out = empty_rows(x, width)
    update, *projection = added or (None, None, None)
    x, updates = readable_beside([out], dense_channels(x), dense_channels(x if update is None else update))
    (x, updates, _), rows = share_rows(x, updates, out)
    (block_m, block_h, block_k), options = tile_of("added" if added else "forward", x, hidden, rows.count)
    with torch.cuda.device_of(x):
        forward.transition_forward[(triton.cdiv(rows.count, block_m),)](
            x, scale, offset, expand.contiguous(), expand_bias, contract.contiguous(), contract_bias,
            None if update is None else updates, *projection, out,
            rows.count, rows.middle, rows.inner, *rows.strides[0], *rows.strides[1],
            width, hidden, expand_bias is not None, contract_bias is not None, triton.next_power_of_2(width),
            block_m, block_h, block_k, 0 if update is None else update.shape[-1], options.pop("block_u", 0),
            float32_precision(x.dtype), **options,
        )  # fmt: skip
    return out


def launch_backward(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, biased: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the gradient of x (in its memory order), and those of the parameters in one flat tensor.

    In this come scale, offset, the contracting bias (if biased), both weights, and the expanding bias if any.
    """
    grad_x, *of_rows = _launch_input(grad, x, scale, offset, expand, expand_bias, contract, biased)
    of_layers = _launch_weights(grad, x, scale, offset, expand, expand_bias, contract)
    return grad_x, add_shares([*of_rows, *of_layers], contract.dtype)


def _launch_input(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, biased: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradient of x, and shares of those of the layer norm and of the contracting bias."""
    hidden, width = expand.shape
    grad_x = empty_rows(x, width)
    (x, grad), rows = share_rows(dense_channels(x), dense_channels(grad))
    (block_m, block_h, block_k), options = tile_of("input", x, hidden, rows.count)
    programs = triton.cdiv(rows.count, block_m)
    partial = x.new_empty((programs, 2, width), dtype=torch.float32)
    partial_bias = x.new_empty((programs, width if biased else 0), dtype=torch.float32)
    with torch.cuda.device_of(x):
        backward.transition_backward_input[(programs,)](
            x, scale, offset, expand.contiguous(), expand_bias, contract.contiguous(), grad, grad_x, partial,
            partial_bias, rows.count, rows.middle, rows.inner, *rows.strides[0], *rows.strides[1],
            width, hidden, expand_bias is not None, biased, triton.next_power_of_2(width),
            block_m, block_h, block_k, float32_precision(x.dtype), **options,
        )  # fmt: skip
    return grad_x, partial, partial_bias


def _launch_weights(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return shares of the gradients of both weights, and of the expanding bias."""
    hidden, width = expand.shape
    (x, grad), rows = share_rows(dense_channels(x), dense_channels(grad))
    (block_m, block_h, block_k), options = tile_of("weights", x, hidden, rows.count)
    blocks, tiles = triton.cdiv(rows.count, block_m), triton.cdiv(hidden, block_h)
    groups = min(blocks, max(1, PROGRAMS // tiles))
    partial = x.new_empty((groups, 2 * hidden * width), dtype=torch.float32)
    partial_bias = x.new_empty((groups, 0 if expand_bias is None else hidden), dtype=torch.float32)
    with torch.cuda.device_of(x):
        backward.transition_backward_weights[(tiles, groups)](
            x, scale, offset, expand.contiguous(), expand_bias, contract.contiguous(), grad, partial, partial_bias,
            rows.count, rows.middle, rows.inner, blocks, *rows.strides[0], *rows.strides[1],
            width, hidden, expand_bias is not None, triton.next_power_of_2(width),
            block_m, block_h, block_k, float32_precision(x.dtype), **options,
        )  # fmt: skip
    return partial, partial_bias
