"""Gradients of a layer norm and its projections; the normalised rows are made again, rows summed in a fixed order."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import Parameters, declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import (
    dense_channels,
    empty_rows,
    row_offset,
    share_rows,
    standardise,
    standardise_backward,
)
from foldcli_kernels.norm_linear_forward import NARROW, WIDTHS, column_block, matrix_precision, normalise, width_class
from foldcli_kernels.norm_linear_sliced import product
from foldcli_kernels.specimen import POINTER, Specimen


def _parameters(block_m: int, block_n: int, num_warps: int, num_stages: int) -> Parameters:
    return {"block_m": block_m, "block_n": block_n, "num_warps": num_warps, "num_stages": num_stages}


# By the width rounded up to a power of two: in half precision, in float32, and what tuning tries besides.
INPUT = {
    64: (_parameters(128, 64, 4, 3), _parameters(64, 32, 4, 2), [_parameters(64, 64, 4, 3)]),
    128: (_parameters(128, 64, 8, 3), _parameters(64, 16, 8, 2), [_parameters(64, 64, 4, 3)]),
    256: (_parameters(64, 64, 8, 3), _parameters(32, 16, 8, 2), [_parameters(64, 32, 8, 3)]),
    512: (_parameters(32, 32, 8, 2), _parameters(16, 16, 8, 2), []),
}
WEIGHTS = {
    64: (_parameters(64, 128, 4, 2), _parameters(32, 64, 4, 2), [_parameters(128, 64, 4, 2)]),
    128: (_parameters(64, 128, 8, 2), _parameters(32, 32, 4, 1), [_parameters(64, 64, 4, 2)]),
    256: (_parameters(64, 64, 8, 2), _parameters(16, 32, 8, 1), [_parameters(32, 128, 8, 2)]),
    512: (_parameters(32, 64, 8, 1), _parameters(16, 16, 8, 1), []),
}
# Programs that share the rows of one weight: two for each multiprocessor of an H100.
PROGRAMS = 264
for _kernel, _table in (("input", INPUT), ("weights", WEIGHTS)):
    for _width, (_half, _single, _more) in _table.items():
        declare(f"norm_linear_{_kernel}_c{_width}", _half, {torch.float32: _single}, [_half, *_more])


@triton.jit
def unproject(
    total, grad, start, inside, weight, WIDTH: tl.constexpr, OUT: tl.constexpr, BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add grad @ weight for a block of rows."""
    channel = tl.arange(0, BLOCK_C)
    for first in range(0, OUT, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        real = column < OUT
        incoming = tl.load(grad + start[:, None] + column[None, :], mask=inside[:, None] & real[None, :], other=0.0)
        at = weight + column[:, None] * WIDTH + channel[None, :]
        tile = tl.load(at, mask=real[:, None] & (channel < WIDTH)[None, :], other=0.0)
        total = product(incoming, tile, total, PRECISION)
    return total


@triton.jit
def input_kernel(
    x, scale, grad, weight, grad2, weight2, grad_x, partial, rows, middle, inner,
    x0, x1, x2, g0, g1, g2, h0, h1, h2, WIDTH: tl.constexpr, OUT: tl.constexpr, OUT2: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_N2: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    start = row_offset(row, middle, inner, g0, g1, g2)
    total = unproject(total, grad, start, inside, weight, WIDTH, OUT, BLOCK_C, BLOCK_N, PRECISION)
    if OUT2 > 0:
        start = row_offset(row, middle, inner, h0, h1, h2)
        total = unproject(total, grad2, start, inside, weight2, WIDTH, OUT2, BLOCK_C, BLOCK_N2, PRECISION)
    start = row_offset(row, middle, inner, x0, x1, x2)
    norm_backward(x, start, row, inside, scale, total, grad_x, partial, WIDTH, BLOCK_C)


@triton.jit
def norm_backward(x, start, row, inside, scale, total, grad_x, partial, WIDTH: tl.constexpr, BLOCK_C: tl.constexpr):
    """Take the gradient of normalised rows back to x, and write this program's share of those of scale and offset."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    mask = inside[:, None] & real[None, :]
    values = tl.load(x + start[:, None] + channel[None, :], mask=mask, other=0.0).to(tl.float32)
    standard, reciprocal = standardise(values, WIDTH, BLOCK_C)
    line = partial + tl.program_id(0).to(tl.int64) * 2 * WIDTH + channel
    tl.store(line, tl.sum(total * standard, axis=0), mask=real)
    tl.store(line + WIDTH, tl.sum(total, axis=0), mask=real)
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    result = standardise_backward(total * factor[None, :], standard, reciprocal, WIDTH)
    at = grad_x + row.to(tl.int64)[:, None] * WIDTH + channel[None, :]
    tl.store(at, result.to(grad_x.dtype.element_ty), mask=mask)


@triton.jit
def weights_kernel(
    x, scale, offset, grad, partial, partial_bias, rows, middle, inner, blocks, x0, x1, x2, g0, g1, g2,
    WIDTH: tl.constexpr, OUT: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    channel = tl.arange(0, BLOCK_C)
    total = tl.zeros([BLOCK_N, BLOCK_C], tl.float32)
    total_bias = tl.zeros([BLOCK_N], tl.float32)
    for block in range(tl.program_id(1), blocks, tl.num_programs(1)):
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = row < rows
        start = row_offset(row, middle, inner, x0, x1, x2)
        normed, _, _ = normalise(x, start, inside, scale, offset, WIDTH, BLOCK_C)
        start = row_offset(row, middle, inner, g0, g1, g2)
        at = grad + start[None, :] + column[:, None]
        incoming = tl.load(at, mask=inside[None, :] & (column < OUT)[:, None], other=0.0)
        total = product(incoming, normed, total, PRECISION)
        if HAS_BIAS:
            total_bias += tl.sum(incoming.to(tl.float32), axis=1)
    line = tl.program_id(1).to(tl.int64) * OUT + column
    mask = (column < OUT)[:, None] & (channel < WIDTH)[None, :]
    tl.store(partial + line[:, None] * WIDTH + channel[None, :], total, mask=mask)
    if HAS_BIAS:
        tl.store(partial_bias + line, total_bias, mask=column < OUT)


def launch_input(grads: Sequence[Tensor], x: Tensor, scale: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of x (in its memory order), scale and offset."""
    width, outs = x.shape[-1], [weight.shape[0] for weight in weights]
    grad_x = empty_rows(x, width)
    (x, *grads), rows = share_rows(dense_channels(x), *(dense_channels(grad) for grad in grads))
    name = f"norm_linear_input_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_n = options.pop("block_m"), options.pop("block_n")
    programs = triton.cdiv(rows.count, block_m)
    partial = x.new_empty((programs, 2, width), dtype=torch.float32)
    with torch.cuda.device_of(x):
        input_kernel[(programs,)](
            x, scale, grads[0], weights[0].contiguous(), grads[-1], weights[-1].contiguous(), grad_x, partial,
            rows.count, rows.middle, rows.inner, *rows.strides[0], *rows.strides[1], *rows.strides[-1],
            width, outs[0], outs[1] if len(outs) > 1 else 0, triton.next_power_of_2(width), block_m,
            column_block(outs[0], block_n), column_block(outs[-1], block_n), matrix_precision(x.dtype), **options,
        )  # fmt: skip
    grad_scale, grad_offset = partial.sum(0).to(scale.dtype)
    return [grad_x, grad_scale.clone(), grad_offset.clone()]


def launch_weights(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, biased: bool
) -> tuple[Tensor, Tensor | None]:
    """Gradients of one projection's weight and bias."""
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
        weights_kernel[(tiles, groups)](
            x, scale, offset, grad, partial, partial_bias, rows.count, rows.middle, rows.inner, blocks,
            *rows.strides[0], *rows.strides[1], width, out, biased, triton.next_power_of_2(width), block_m, block_n,
            matrix_precision(x.dtype), **options,
        )  # fmt: skip
    return partial.sum(0).to(weight.dtype), partial_bias.sum(0).to(weight.dtype) if biased else None


def specimens() -> list[Specimen]:
    """Both kernels in every type and candidate, for each packed projection that the model makes."""
    found = []
    for dtype, pointer in POINTER.items():
        for width in WIDTHS:
            for kernel, table in ((input_kernel, INPUT), (weights_kernel, WEIGHTS)):
                half, single, more = table[width_class(width)]
                for options in [single] if dtype == torch.float32 else [half, *more]:
                    found.append(_specimen(kernel.arg_names, kernel, dtype, pointer, width, options))
    return found


def _specimen(
    names: list[str], kernel: object, dtype: torch.dtype, pointer: str, width: int, options: Parameters
) -> Specimen:
    block_m, block_n = options["block_m"], column_block(4 * width, options["block_n"])
    constants = {
        "WIDTH": width, "OUT": 4 * width, "OUT2": 4, "HAS_BIAS": True, "BLOCK_C": triton.next_power_of_2(width),
        "BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_N2": NARROW, "PRECISION": "tf32x3", "middle": 1, "inner": 1,
    }  # fmt: skip
    constants = {name: value for name, value in constants.items() if name in names}
    pointers = [name for name in names if not name[1:].isdigit() and name not in (*constants, "rows", "blocks")]
    steps = [name for name in names if name[1:].isdigit()]
    signature = dict.fromkeys(names, "i32") | dict.fromkeys(pointers, pointer)
    signature |= {name: "*fp32" for name in names if name.startswith("partial")}
    kind, wgmma_rows = ("input", block_m) if kernel is input_kernel else ("weights", block_n)
    return Specimen(
        f"norm_linear {kind} {str(dtype)[6:]} c{width} {block_m}x{block_n}", kernel,
        {name: kind for name, kind in signature.items() if name not in constants}, constants,
        options["num_warps"], options["num_stages"], dtype != torch.float32 and wgmma_rows >= 64,
        divisible=(*pointers, *steps),
    )  # fmt: skip
