"""Operands of a triangle product: layer norm, gated dual projection and mask in one pass over the pairs."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.layer_norm_rows import empty_rows
from foldcli_kernels.specimen import Specimen
from foldcli_kernels.triangle_operands_backward import gradients
from foldcli_kernels.triangle_tiles import (
    SPLIT,
    declare_widths,
    launch_options,
    load_bias,
    load_normed,
    load_rows,
    padded_length,
    pairs,
    place,
    product,
    refuse_gradient,
    specimens_of,
    tile_constants,
    tiles,
)

OPTIONS = [{"block_p": p, "block_n": 64, "num_warps": 8, "num_stages": 2} for p in (128, 64)]
SINGLE = {"block_p": 32, "block_n": 16, "num_warps": 4, "num_stages": 2}
declare_widths("triangle_operands", OPTIONS, SINGLE)


@triton.jit
def forward_kernel(
    z, scale, offset, weight, bias, mask, left, right, rows, length, padded,
    z_b, z_i, z_k, mask_b, mask_i, mask_k, plane,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = place(tl.program_id(0), rows, length, padded, BLOCK_P)
    normed = load_normed(z, batch * z_b + i * z_i + k * z_k, inside, 1, scale, offset, WIDTH, BLOCK_C)
    # Zero outside, and with it the operands: what pads a row is defined.
    keep = tl.load(mask + batch * mask_b + i * mask_i + k * mask_k, mask=inside, other=0.0).to(tl.float32)
    position = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    for side in tl.static_range(2):
        out = (left if side == 0 else right) + batch * HIDDEN * plane
        for start in range(0, HIDDEN, BLOCK_N):
            channel = start + tl.arange(0, BLOCK_N)
            real = channel < HIDDEN
            row = side * HIDDEN + channel
            zero = tl.zeros([BLOCK_N, BLOCK_P], tl.float32)
            value = (
                product(load_rows(weight, row, real, WIDTH, BLOCK_C), tl.trans(normed), zero, SPLIT)
                + load_bias(bias, row, real, HAS_BIAS, BLOCK_N)[:, None]
            )
            row += 2 * HIDDEN
            gate = (
                product(load_rows(weight, row, real, WIDTH, BLOCK_C), tl.trans(normed), zero, SPLIT)
                + load_bias(bias, row, real, HAS_BIAS, BLOCK_N)[:, None]
            )
            result = (value * tl.sigmoid(gate) * keep[None, :]).to(left.dtype.element_ty)
            tl.store(
                out + channel.to(tl.int64)[:, None] * plane + position[None, :],
                result,
                mask=real[:, None] & (position < plane)[None, :],
            )


def _empty(z: Tensor, hidden: int) -> Tensor:
    """Room for one operand, [*b, c, i, k] in which rows start at multiples of 16 elements.

    The library's matrix products need rows at multiples of 16 bytes for their fast paths, and most lengths are none.
    """
    *batch, rows, length, _ = z.shape
    return z.new_empty((*batch, hidden, rows, padded_length(length)))[..., :length]


@torch.library.custom_op("foldcli::triangle_operands", mutates_args=())
def _forward(
    z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor]:
    hidden, (rows, length) = weight.shape[0] // 4, z.shape[-3:-1]
    left, right = _empty(z, hidden), _empty(z, hidden)
    z, mask = pairs(z), mask.reshape(-1, rows, length)
    constants = tile_constants(z.shape[-1], hidden)
    options = launch_options("triangle_operands", z, constants, "BLOCK_H")
    padded = padded_length(length)
    with torch.cuda.device_of(z):
        forward_kernel[(tiles(z, constants["BLOCK_P"]), z.shape[0])](
            z, scale, offset, weight, bias, mask, left, right, rows, length, padded,
            *z.stride()[:3], *mask.stride(), rows * padded,
            **constants, HAS_BIAS=bias is not None, **options,
        )  # fmt: skip
    return left, right


@_forward.register_fake
def _(
    z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor]:
    return _empty(z, weight.shape[0] // 4), _empty(z, weight.shape[0] // 4)


@torch.library.custom_op("foldcli::triangle_operands_backward", mutates_args=())
def _backward(
    grad_left: Tensor, grad_right: Tensor, z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor,
    bias: Tensor | None, mask: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return gradients(grad_left, grad_right, z, scale, offset, weight, bias, mask)


@_backward.register_fake
def _(
    grad_left: Tensor, grad_right: Tensor, z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor,
    bias: Tensor | None, mask: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        empty_rows(z, z.shape[-1]), torch.empty_like(scale), torch.empty_like(offset), torch.empty_like(weight),
        weight.new_empty(weight.shape[0]),
    )  # fmt: skip


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad_left: Tensor, grad_right: Tensor) -> tuple[Tensor | None, ...]:
    z, scale, offset, weight, bias = torch.ops.foldcli.triangle_operands_backward(
        grad_left, grad_right, *ctx.saved_tensors
    )
    return z, scale, offset, weight, bias if ctx.needs_input_grad[4] else None, None


_forward.register_autograd(_gradients, setup_context=_save)


def triangle_operands(
    z: Tensor, norm: tuple[Tensor, Tensor], projection: tuple[Tensor, Tensor | None], mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Left and right operand of a triangle product, normalised, projected, gated, masked (Suppl. Alg. 11, lines 1, 2).

    z: [*b, i, k, c_z] with any strides; norm: scale and offset [c_z]; projection: weight [4 c, c_z] and bias [4 c] of
    the left and right values and the left and right gates; mask: [*b, i, k], which gets no gradient. Both results are
    [*b, c, i, k].
    """
    refuse_gradient("triangle_operands", mask)
    return torch.ops.foldcli.triangle_operands(z, *norm, *projection, mask)


def specimens() -> list[Specimen]:
    """Every type, width and tile that ships."""
    return specimens_of("triangle_operands", forward_kernel, OPTIONS, SINGLE, "BLOCK_H", "BLOCK_N")
