"""Layer norm over the last axis of a tensor with any strides; statistics in float32, gradients without atomics."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import (
    dense_channels,
    empty_rows,
    row_offset,
    share_rows,
    standardise,
    standardise_backward,
)
from foldcli_kernels.specimen import POINTER, Specimen

FORWARD = [{"elements": e, "num_warps": w, "num_stages": 1} for e, w in [(2048, 4), (4096, 4), (8192, 8)]]
# programs: how many share the rows in backward, each with one line of partial sums.
BACKWARD = [{"elements": e, "programs": 528, "num_warps": w, "num_stages": 1} for e, w in [(2048, 4), (4096, 8)]]
declare("layer_norm_forward", FORWARD[1], candidates=FORWARD)
declare("layer_norm_backward", BACKWARD[0], candidates=BACKWARD)


@triton.jit
def forward_kernel(
    x, scale, offset, out, rows, middle, inner, x0, x1, x2, x_channel,
    WIDTH: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    inside = (row < rows)[:, None] & real[None, :]
    start = row_offset(row, middle, inner, x0, x1, x2)
    values = tl.load(x + start[:, None] + (channel * x_channel)[None, :], mask=inside, other=0.0).to(tl.float32)
    standard, _ = standardise(values, WIDTH, BLOCK_C)
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    shift = tl.load(offset + channel, mask=real, other=0.0).to(tl.float32)
    result = standard * factor[None, :] + shift[None, :]
    start = row.to(tl.int64) * WIDTH
    tl.store(out + start[:, None] + channel[None, :], result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def backward_kernel(
    grad, x, scale, grad_x, partial, rows, middle, inner, blocks, g0, g1, g2, x0, x1, x2, x_channel,
    WIDTH: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    grad_scale = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    grad_offset = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for block in range(tl.program_id(0), blocks, tl.num_programs(0)):
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = (row < rows)[:, None] & real[None, :]
        start = row_offset(row, middle, inner, x0, x1, x2)
        values = tl.load(x + start[:, None] + (channel * x_channel)[None, :], mask=inside, other=0.0).to(tl.float32)
        standard, reciprocal = standardise(values, WIDTH, BLOCK_C)
        start = row_offset(row, middle, inner, g0, g1, g2)
        incoming = tl.load(grad + start[:, None] + channel[None, :], mask=inside, other=0.0).to(tl.float32)
        result = standardise_backward(incoming * factor[None, :], standard, reciprocal, WIDTH)
        start = row.to(tl.int64) * WIDTH
        tl.store(grad_x + start[:, None] + channel[None, :], result.to(grad_x.dtype.element_ty), mask=inside)
        grad_scale += incoming * standard
        grad_offset += incoming
    line = partial + tl.program_id(0) * 2 * WIDTH + channel
    tl.store(line, tl.sum(grad_scale, axis=0), mask=real)
    tl.store(line + WIDTH, tl.sum(grad_offset, axis=0), mask=real)


def _tile(width: int, elements: int) -> dict[str, int]:
    block_c = triton.next_power_of_2(width)
    return {"WIDTH": width, "BLOCK_C": block_c, "BLOCK_M": max(1, elements // block_c)}


def launch_forward(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Normalised rows in the memory order of x [*b, c]."""
    out = empty_rows(x, x.shape[-1])
    (x,), rows = share_rows(x)
    options = dict(launch_parameters("layer_norm_forward", x.dtype, size_class(rows.count), x.device))
    tile = _tile(x.shape[-1], options.pop("elements"))
    grid = (triton.cdiv(rows.count, tile["BLOCK_M"]),)
    with torch.cuda.device_of(x):
        forward_kernel[grid](
            x, scale, offset, out, rows.count, rows.middle, rows.inner, *rows.strides[0], x.stride(-1),
            **tile, **options,
        )  # fmt: skip
    return out


def launch_backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x (in its memory order), scale and offset."""
    grad_x = empty_rows(x, x.shape[-1])
    (x, grad), rows = share_rows(x, dense_channels(grad))
    options = dict(launch_parameters("layer_norm_backward", x.dtype, size_class(rows.count), x.device))
    tile = _tile(x.shape[-1], options.pop("elements"))
    blocks = triton.cdiv(rows.count, tile["BLOCK_M"])
    programs = min(blocks, options.pop("programs"))
    partial = x.new_empty((programs, 2, x.shape[-1]), dtype=torch.float32)
    x_strides, grad_strides = rows.strides
    with torch.cuda.device_of(x):
        backward_kernel[(programs,)](
            grad, x, scale, grad_x, partial, rows.count, rows.middle, rows.inner, blocks, *grad_strides,
            *x_strides, x.stride(-1), **tile, **options,
        )  # fmt: skip
    grad_scale, grad_offset = partial.sum(0).to(scale.dtype)
    return grad_x, grad_scale.clone(), grad_offset.clone()


@torch.library.custom_op("foldcli::layer_norm", mutates_args=())
def _forward(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return launch_forward(x, scale, offset)


@torch.library.custom_op("foldcli::layer_norm_backward", mutates_args=())
def _backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return launch_backward(grad, x, scale)


@_forward.register_fake
def _(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return empty_rows(x, x.shape[-1])


@_backward.register_fake
def _(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return empty_rows(x, x.shape[-1]), torch.empty_like(scale), torch.empty_like(scale)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    x, scale, _ = inputs
    ctx.save_for_backward(x, scale)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.foldcli.layer_norm_backward(grad, *ctx.saved_tensors)


_forward.register_autograd(_gradients, setup_context=_save)


def layer_norm(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift; the result keeps the memory order of x.

    x: [*b, c] of bfloat16, float16 or float32 with any strides; norm: scale [c] and offset [c].
    """
    return torch.ops.foldcli.layer_norm(x, *norm)


def specimens() -> list[Specimen]:
    """Every kernel, type and width that ships, at every candidate's tile."""
    found = []
    for dtype, pointer in POINTER.items():
        for width in (64, 128, 256, 384):
            for kernel, candidates in ((forward_kernel, FORWARD), (backward_kernel, BACKWARD)):
                for options in candidates:
                    found.append(_specimen(kernel, dtype, pointer, width, options))
    return found


def _specimen(kernel: Any, dtype: torch.dtype, pointer: str, width: int, options: dict[str, int]) -> Specimen:
    names = kernel.arg_names
    tile = _tile(width, options["elements"])
    pointers = {"x", "scale", "offset", "out", "grad", "grad_x"}
    strides = [name for name in names if name[1:].isdigit()]
    signature = {name: pointer if name in pointers else "i32" for name in names if name not in tile}
    if "partial" in signature:
        signature["partial"] = "*fp32"
    # As launched on a dense tensor: one axis of rows, channels side by side.
    fixed = {"middle": 1, "inner": 1, "x_channel": 1}
    name = f"layer_norm {kernel.__name__.split('_')[0]} {str(dtype)[6:]} c{width} {tile['BLOCK_M']} rows"
    divisible = tuple(n for n, kind in signature.items() if kind.startswith("*")) + tuple(strides)
    return Specimen(
        name, kernel, {n: t for n, t in signature.items() if n not in fixed}, {**tile, **fixed},
        options["num_warps"], options["num_stages"], divisible=divisible,
    )  # fmt: skip
