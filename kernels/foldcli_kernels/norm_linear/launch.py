"""Launches the kernels for layer norm and projections."""

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from foldcli_kernels.matmul import float32_precision
from foldcli_kernels.norm_linear import backward, forward
from foldcli_kernels.norm_linear.tiles import PROGRAMS, column_block, width_class
from foldcli_kernels.tensors import dense_channels, empty_rows, share_rows
from foldcli_kernels.tuning import launch_parameters, size_class


def launch_forward(
    x: Tensor, scale: Tensor, offset: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> list[Tensor]:
    """Project normalised rows by one or two weights [out, c]; results in the memory order of x [*b, c]."""
    width, outs = x.shape[-1], [weight.shape[0] for weight in weights]
    results = [empty_rows(x, out) for out in outs]
    (x,), rows = share_rows(dense_channels(x))
    name = f"norm_linear_forward_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_n, block_k = (options.pop(key) for key in ("block_m", "block_n", "block_k"))
    first, last = ([weights[i].contiguous(), biases[i], results[i]] for i in (0, -1))
    with torch.cuda.device_of(x):
        forward.norm_linear_forward[(triton.cdiv(rows.count, block_m),)](
            x, scale, offset, *first, *last, rows.count, rows.middle, rows.inner, *rows.strides[0],
            width, outs[0], outs[1] if len(outs) > 1 else 0, biases[0] is not None, biases[-1] is not None,
            triton.next_power_of_2(width), block_m, column_block(outs[0], block_n), column_block(outs[-1], block_n),
            block_k, float32_precision(x.dtype), **options,
        )  # fmt: skip
    return results


def launch_input(grads: Sequence[Tensor], x: Tensor, scale: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of x (in its memory order), scale and offset."""
    width, outs = x.shape[-1], [weight.shape[0] for weight in weights]
    grad_x = empty_rows(x, width)
    (x, *grads), rows = share_rows(dense_channels(x), *(dense_channels(grad) for grad in grads))
    name = f"norm_linear_input_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_n = options.pop("block_m"), options.pop("block_n")
    programs = triton.cdiv(rows.count, block_m)
    partial = x.new_empty((programs, 2, width), dtype=torch.float32)
    with torch.cuda.device_of(x):
        backward.norm_linear_backward_input[(programs,)](
            x, scale, grads[0], weights[0].contiguous(), grads[-1], weights[-1].contiguous(), grad_x, partial,
            rows.count, rows.middle, rows.inner, *rows.strides[0], *rows.strides[1], *rows.strides[-1],
            width, outs[0], outs[1] if len(outs) > 1 else 0, triton.next_power_of_2(width), block_m,
            column_block(outs[0], block_n), column_block(outs[-1], block_n), float32_precision(x.dtype), **options,
        )  # fmt: skip
    grad_scale, grad_offset = partial.sum(0).to(scale.dtype)
    return [grad_x, grad_scale.clone(), grad_offset.clone()]


def launch_weights(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, biased: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of one projection's weight and bias."""
    out, width = weight.shape
    (x, grad), rows = share_rows(dense_channels(x), dense_channels(grad))
    name = f"norm_linear_weights_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_n = options.pop("block_m"), column_block(out, options.pop("block_n"))
    blocks, tiles = triton.cdiv(rows.count, block_m), triton.cdiv(out, block_n)
    groups = min(blocks, max(1, PROGRAMS // tiles))
    partial = x.new_empty((groups, out, width), dtype=torch.float32)
    partial_bias = x.new_empty((groups, out if biased else 0), dtype=torch.float32)
    with torch.cuda.device_of(x):
        backward.norm_linear_backward_weights[(tiles, groups)](
            x, scale, offset, grad, partial, partial_bias, rows.count, rows.middle, rows.inner, blocks,
            *rows.strides[0], *rows.strides[1], width, out, biased, triton.next_power_of_2(width), block_m, block_n,
            float32_precision(x.dtype), **options,
        )  # fmt: skip
    return partial.sum(0).to(weight.dtype), partial_bias.sum(0).to(weight.dtype) if biased else None
