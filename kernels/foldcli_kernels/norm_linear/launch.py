"""Launches the kernels for layer norm and projections."""

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from foldcli_kernels.matmul import NARROWEST, float32_precision
from foldcli_kernels.norm_linear import backward, forward
from foldcli_kernels.norm_linear.tiles import PROGRAMS, column_block, width_class
from foldcli_kernels.shares import add_shares
from foldcli_kernels.tensors import dense_channels, empty_planes, empty_rows, readable_beside, share_rows
from foldcli_kernels.tuning import launch_parameters, size_class

# An update, with weight and bias of its projection, which is added to the rows before they are normalised.
Added = tuple[Tensor, Tensor, Tensor]


def empty_results(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> list[Tensor]:
    """Return uninitialised projections of x.

    Rows lie in the memory order of those of x, their columns side by side; but few columns without a bias are heads'
    biases of pairs, which attention reads head by head: they are planes.
    """
    return [
        empty_planes(x, len(weight)) if bias is None and len(weight) <= NARROWEST and x.dim() in (3, 4)
        else empty_rows(x, len(weight))
        for weight, bias in zip(weights, biases, strict=True)
    ]  # fmt: skip


def launch_forward(
    x: Tensor, scale: Tensor, offset: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None],
    keep: Tensor | None = None,
) -> list[Tensor]:  # fmt: skip
    """Project normalised rows by one or two weights [out, c], and multiply the results by keep [*b]."""
    results = empty_results(x, weights, biases)
    _launch_forward(x, (scale, offset), weights, biases, results, keep, None, None)
    return results


def launch_added(
    x: Tensor, norm: tuple[Tensor, Tensor], added: Added, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> tuple[Tensor, list[Tensor]]:
    """Return x with the update added, in the memory order of x, and projections of it normalised."""
    total, results = empty_rows(x, x.shape[-1]), empty_results(x, weights, biases)
    _launch_forward(x, norm, weights, biases, results, None, added, total)
    return total, results


def _launch_forward(
    x: Tensor, norm: tuple[Tensor, Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor | None],
    results: Sequence[Tensor], keep: Tensor | None, added: Added | None, total: Tensor | None,
) -> None:  # fmt: skip
    width, outs = x.shape[-1], [weight.shape[0] for weight in weights]
    update, *projection = added or (None, None, None)
    # Others stand for the tensors that there are not, so that there are strides to hand over.
    x, written = dense_channels(x), [results[0] if total is None else total, *results]
    read = x, x if keep is None else keep.unsqueeze(-1), x if update is None else dense_channels(update)
    x, factors, updates = readable_beside(written, *read)
    (x, *_), rows = share_rows(x, factors, updates, *written)
    of_x, *others = rows.strides
    steps = [result.stride(-1) for result in results]
    spare, line_end = _line_ends(results, others[3:])
    name = f"norm_linear_{'added' if added else 'forward'}_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_n, block_k = (options.pop(key) for key in ("block_m", "block_n", "block_k"))
    first, last = ([weights[i].contiguous(), biases[i], results[i]] for i in (0, -1))
    with torch.cuda.device_of(x):
        forward.norm_linear_forward[(triton.cdiv(rows.count, block_m),)](
            x, *norm, *first, *last, None if keep is None else factors, None if update is None else updates,
            *projection, total, rows.count, rows.middle, rows.inner,
            *of_x, *others[3], steps[0], *others[-1], steps[-1], *others[0], *others[1], *others[2],
            *line_end, spare[0], spare[-1],
            width, outs[0], outs[1] if len(outs) > 1 else 0, biases[0] is not None, biases[-1] is not None,
            triton.next_power_of_2(width), block_m, column_block(outs[0], block_n), column_block(outs[-1], block_n),
            block_k, 0 if update is None else update.shape[-1], options.pop("block_u", 0),
            float32_precision(x.dtype), **options,
        )  # fmt: skip


def _line_ends(results: Sequence[Tensor], strides: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Return how many entries each result has beyond the end of its planes' lines, and what says where lines end.

    This is the last index along a line, and the steps of that index along the three axes of rows.
    """
    spare = [result.stride(-3) - result.shape[-2] if result.stride(-1) > 1 else 0 for result in results]
    for result, steps, beyond in zip(results, strides, spare, strict=True):
        if beyond:
            return spare, [result.shape[-2] - 1, *(int(step == 1) for step in steps)]
    return spare, [0, 0, 0, 0]


def launch_backward(
    grads: Sequence[Tensor], x: Tensor, scale: Tensor, offset: Tensor, weights: Sequence[Tensor], biased: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Return the gradient of x (in its memory order), and those of the parameters in one flat tensor.

    In this come scale, offset, then each weight, followed by its bias if it has one.
    """
    grads = [dense_channels(grad) for grad in grads]
    grad_x, of_norm = _launch_input(grads, x, scale, weights)
    shares = [of_norm]
    for grad, weight, has_bias in zip(grads, weights, biased, strict=True):
        shares += _launch_weights(grad, x, scale, offset, weight, has_bias)
    return grad_x, add_shares(shares, scale.dtype)


def _launch_input(
    grads: Sequence[Tensor], x: Tensor, scale: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the gradient of x, and shares of those of scale and offset."""
    width, outs = x.shape[-1], [weight.shape[0] for weight in weights]
    grad_x = empty_rows(x, width)
    (x, *grads), rows = share_rows(dense_channels(x), *grads)
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
    return grad_x, partial


def _launch_weights(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, biased: bool
) -> tuple[Tensor, Tensor]:
    """Return shares of the gradients of one projection's weight and bias."""
    out, width = weight.shape
    (x, grad), rows = share_rows(dense_channels(x), grad)
    name = f"norm_linear_{'narrow_' * (out <= NARROWEST)}weights_c{width_class(width)}"
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
    return partial, partial_bias
