"""Gradients of the transition; its hidden layer is made again, tile by tile, and sums over rows keep their order."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import dense_channels, empty_rows, row_offset, share_rows
from foldcli_kernels.norm_linear_backward import PROGRAMS, norm_backward
from foldcli_kernels.norm_linear_forward import matrix_precision, normalise, width_class
from foldcli_kernels.norm_linear_sliced import product, sliced_product, statistics
from foldcli_kernels.specimen import POINTER, Specimen
from foldcli_kernels.transition_forward import SIZES, parameters, specimen

# By the width rounded up to a power of two: in half precision, in float32, and what tuning tries besides.
INPUT = {
    64: (parameters(64, 64, 64, 4, 2), parameters(32, 32, 32, 4, 2), []),
    128: (parameters(128, 64, 128, 8, 2), parameters(32, 32, 32, 8, 2), [parameters(64, 64, 128, 4, 2)]),
    256: (parameters(64, 64, 256, 8, 2), parameters(32, 16, 32, 8, 1), [parameters(64, 32, 256, 8, 2)]),
    512: (parameters(32, 16, 64, 8, 1), parameters(16, 16, 32, 8, 1), []),
}
WEIGHTS = {
    64: (parameters(64, 32, 64, 4, 2), parameters(16, 32, 32, 4, 1), []),
    128: (parameters(32, 64, 128, 8, 2), parameters(16, 32, 32, 8, 1), []),
    256: (parameters(32, 64, 256, 8, 1), parameters(16, 16, 32, 8, 1), [parameters(32, 32, 256, 8, 2)]),
    512: (parameters(16, 16, 64, 8, 1), parameters(16, 16, 32, 8, 1), []),
}
for _kernel, _table in (("input", INPUT), ("weights", WEIGHTS)):
    for _width, (_half, _single, _more) in _table.items():
        declare(f"transition_{_kernel}_c{_width}", _half, {torch.float32: _single}, [_half, *_more])


@triton.jit
def input_kernel(
    x, scale, offset, expand, expand_bias, contract, grad, grad_x, partial, partial_bias, rows, middle, inner,
    x0, x1, x2, g0, g1, g2, WIDTH: tl.constexpr, HIDDEN: tl.constexpr, EXPAND_BIAS: tl.constexpr,
    CONTRACT_BIAS: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_H: tl.constexpr,
    BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    grad_start = row_offset(row, middle, inner, g0, g1, g2)
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    mask = inside[:, None] & real[None, :]
    if BLOCK_K < WIDTH:
        mean, reciprocal = statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = normalise(x, start, inside, scale, offset, WIDTH, BLOCK_C)
        incoming = tl.load(grad + grad_start[:, None] + channel[None, :], mask=mask, other=0.0)
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for first in range(0, HIDDEN, BLOCK_H):
        column = first + tl.arange(0, BLOCK_H)
        known = column < HIDDEN
        at = expand + column[:, None] * WIDTH + channel[None, :]
        tile = tl.load(at, mask=known[:, None] & real[None, :], other=0.0)
        if BLOCK_K < WIDTH:
            hidden = sliced_product(
                x, start, inside, mean, reciprocal, scale, offset, expand, column, WIDTH, 1,
                WIDTH, HIDDEN, True, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
            grad_hidden = sliced_product(
                grad, grad_start, inside, mean, reciprocal, scale, offset, contract, column, 1, HIDDEN,
                WIDTH, HIDDEN, False, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            hidden = product(normed, tl.trans(tile), tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
            at = contract + channel[:, None] * HIDDEN + column[None, :]
            back = tl.load(at, mask=real[:, None] & known[None, :], other=0.0)
            grad_hidden = product(incoming, back, tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
        if EXPAND_BIAS:
            hidden += tl.load(expand_bias + column, mask=known, other=0.0).to(tl.float32)[None, :]
        grad_hidden = tl.where(hidden > 0, grad_hidden, 0.0).to(x.dtype.element_ty)
        total = product(grad_hidden, tile, total, PRECISION)
    # Axis 1 of the grid is 0, which the compiler cannot know: else it keeps the addresses in registers all the while.
    row += tl.program_id(1)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    norm_backward(x, start, row, inside, scale, total, grad_x, partial, WIDTH, BLOCK_C)
    if CONTRACT_BIAS:
        start = row_offset(row, middle, inner, g0, g1, g2)
        at = grad + start[:, None] + channel[None, :]
        again = tl.load(at, mask=inside[:, None] & real[None, :], other=0.0).to(tl.float32)
        tl.store(partial_bias + tl.program_id(0).to(tl.int64) * WIDTH + channel, tl.sum(again, axis=0), mask=real)


@triton.jit
def weights_kernel(
    x, scale, offset, expand, expand_bias, contract, grad, partial, partial_bias, rows, middle, inner, blocks,
    x0, x1, x2, g0, g1, g2, WIDTH: tl.constexpr, HIDDEN: tl.constexpr, EXPAND_BIAS: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * BLOCK_H + tl.arange(0, BLOCK_H)
    channel = tl.arange(0, BLOCK_C)
    known, real = column < HIDDEN, channel < WIDTH
    both = known[:, None] & real[None, :]
    if BLOCK_K >= WIDTH:
        forth = tl.load(expand + column[:, None] * WIDTH + channel[None, :], mask=both, other=0.0)
        from_column = contract + channel[:, None] * HIDDEN + column[None, :]
        back = tl.load(from_column, mask=real[:, None] & known[None, :], other=0.0)
    if EXPAND_BIAS:
        shift = tl.load(expand_bias + column, mask=known, other=0.0).to(tl.float32)
    total_expand = tl.zeros([BLOCK_H, BLOCK_C], tl.float32)
    total_contract = tl.zeros([BLOCK_H, BLOCK_C], tl.float32)
    total_bias = tl.zeros([BLOCK_H], tl.float32)
    for block in range(tl.program_id(1), blocks, tl.num_programs(1)):
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = row < rows
        start = row_offset(row, middle, inner, x0, x1, x2)
        grad_start = row_offset(row, middle, inner, g0, g1, g2)
        normed, _, _ = normalise(x, start, inside, scale, offset, WIDTH, BLOCK_C)
        at = grad + grad_start[:, None] + channel[None, :]
        incoming = tl.load(at, mask=inside[:, None] & real[None, :], other=0.0)
        if BLOCK_K < WIDTH:
            mean, reciprocal = statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
            hidden = sliced_product(
                x, start, inside, mean, reciprocal, scale, offset, expand, column, WIDTH, 1,
                WIDTH, HIDDEN, True, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
            grad_hidden = sliced_product(
                grad, grad_start, inside, mean, reciprocal, scale, offset, contract, column, 1, HIDDEN,
                WIDTH, HIDDEN, False, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            hidden = product(normed, tl.trans(forth), tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
            grad_hidden = product(incoming, back, tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
        if EXPAND_BIAS:
            hidden += shift[None, :]
        grad_hidden = tl.where(hidden > 0, grad_hidden, 0.0)
        hidden = tl.maximum(hidden, 0.0).to(x.dtype.element_ty)
        total_bias += tl.sum(grad_hidden, axis=0)
        total_expand = product(tl.trans(grad_hidden.to(x.dtype.element_ty)), normed, total_expand, PRECISION)
        total_contract = product(tl.trans(hidden), incoming, total_contract, PRECISION)
    line = tl.program_id(1).to(tl.int64) * 2 * HIDDEN + column
    at = partial + line[:, None] * WIDTH + channel[None, :]
    tl.store(at, total_expand, mask=both)
    tl.store(at + HIDDEN * WIDTH, total_contract, mask=both)
    if EXPAND_BIAS:
        tl.store(partial_bias + tl.program_id(1) * HIDDEN + column, total_bias, mask=known)


def launch_input(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, biased: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of x (in its memory order), scale, offset, and the contracting layer's bias (empty unless biased)."""
    hidden, width = expand.shape
    grad_x = empty_rows(x, width)
    (x, grad), rows = share_rows(dense_channels(x), dense_channels(grad))
    name = f"transition_input_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_h, block_k = (options.pop(key) for key in ("block_m", "block_h", "block_k"))
    programs = triton.cdiv(rows.count, block_m)
    partial = x.new_empty((programs, 2, width), dtype=torch.float32)
    partial_bias = x.new_empty((programs, width if biased else 0), dtype=torch.float32)
    with torch.cuda.device_of(x):
        input_kernel[(programs,)](
            x, scale, offset, expand.contiguous(), expand_bias, contract.contiguous(), grad, grad_x, partial,
            partial_bias, rows.count, rows.middle, rows.inner, *rows.strides[0], *rows.strides[1],
            width, hidden, expand_bias is not None, biased, triton.next_power_of_2(width),
            block_m, block_h, block_k, matrix_precision(x.dtype), **options,
        )  # fmt: skip
    grad_scale, grad_offset = partial.sum(0).to(scale.dtype)
    return grad_x, grad_scale.clone(), grad_offset.clone(), partial_bias.sum(0).to(contract.dtype)


def launch_weights(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of the expanding weight, its bias (empty if it has none) and the contracting weight."""
    hidden, width = expand.shape
    (x, grad), rows = share_rows(dense_channels(x), dense_channels(grad))
    name = f"transition_weights_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_h, block_k = (options.pop(key) for key in ("block_m", "block_h", "block_k"))
    blocks, tiles = triton.cdiv(rows.count, block_m), triton.cdiv(hidden, block_h)
    groups = min(blocks, max(1, PROGRAMS // tiles))
    partial = x.new_empty((groups, 2, hidden, width), dtype=torch.float32)
    partial_bias = x.new_empty((groups, 0 if expand_bias is None else hidden), dtype=torch.float32)
    with torch.cuda.device_of(x):
        weights_kernel[(tiles, groups)](
            x, scale, offset, expand.contiguous(), expand_bias, contract.contiguous(), grad, partial, partial_bias,
            rows.count, rows.middle, rows.inner, blocks, *rows.strides[0], *rows.strides[1],
            width, hidden, expand_bias is not None, triton.next_power_of_2(width),
            block_m, block_h, block_k, matrix_precision(x.dtype), **options,
        )  # fmt: skip
    of_expand, of_contract = partial.sum(0).to(expand.dtype)
    return (
        of_expand.clone(),
        partial_bias.sum(0).to(expand.dtype),
        of_contract.T.clone(memory_format=torch.contiguous_format),
    )


def specimens() -> list[Specimen]:
    """Both kernels in every type, size and candidate that ships."""
    found = []
    for dtype in POINTER:
        for size in SIZES:
            for kind, kernel, table in (("input", input_kernel, INPUT), ("weights", weights_kernel, WEIGHTS)):
                half, single, more = table[width_class(size[0])]
                for options in [single] if dtype == torch.float32 else [half, *more]:
                    wgmma_rows = options["block_m" if kind == "input" else "block_h"]
                    found.append(specimen(kind, kernel, kernel.arg_names, dtype, size, options, wgmma_rows))
    return found
