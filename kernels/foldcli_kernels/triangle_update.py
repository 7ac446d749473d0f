"""Update of the pairs by a triangle product: both layer norms, projection and gate in one pass."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.layer_norm_rows import empty_rows
from foldcli_kernels.specimen import Specimen
from foldcli_kernels.triangle_tiles import (
    declare_widths,
    launch_options,
    load_bias,
    load_normed,
    load_rows,
    padded_length,
    pairs,
    place,
    planes,
    product,
    specimens_of,
    tile_constants,
    tiles,
)
from foldcli_kernels.triangle_update_backward import gradients

OPTIONS = [
    {"block_p": p, "block_n": n, "num_warps": w, "num_stages": 2}
    for p, n, w in [(128, 64, 8), (64, 64, 4), (64, 32, 4)]
]
SINGLE = {"block_p": 32, "block_n": 32, "num_warps": 8, "num_stages": 2}
declare_widths("triangle_update", OPTIONS, SINGLE)


@triton.jit
def forward_kernel(
    triangles, z, center_scale, center_offset, output, output_bias, scale, offset, gate, gate_bias, out,
    rows, length, padded, triangles_b, triangles_c, triangles_i, z_b, z_i, z_k, out_b, out_i, out_k,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_GATE_BIAS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(1).to(tl.int64)
    i, k, inside = place(tl.program_id(0), rows, length, padded, BLOCK_P)
    source = batch * triangles_b + i * triangles_i + k
    centred = load_normed(triangles, source, inside, triangles_c, center_scale, center_offset, HIDDEN, BLOCK_H)
    normed = load_normed(z, batch * z_b + i * z_i + k * z_k, inside, 1, scale, offset, WIDTH, BLOCK_C)
    target = out + batch * out_b + i * out_i + k * out_k
    for start in range(0, WIDTH, BLOCK_N):
        channel = start + tl.arange(0, BLOCK_N)
        real = channel < WIDTH
        zero = tl.zeros([BLOCK_P, BLOCK_N], tl.float32)
        update = product(centred, tl.trans(load_rows(output, channel, real, HIDDEN, BLOCK_H)), zero)
        update += load_bias(output_bias, channel, real, HAS_BIAS, BLOCK_N)[None, :]
        logit = product(normed, tl.trans(load_rows(gate, channel, real, WIDTH, BLOCK_C)), zero)
        logit += load_bias(gate_bias, channel, real, HAS_GATE_BIAS, BLOCK_N)[None, :]
        result = (update * tl.sigmoid(logit)).to(out.dtype.element_ty)
        tl.store(target[:, None] + channel[None, :], result, mask=inside[:, None] & real[None, :])


@torch.library.custom_op("foldcli::triangle_update", mutates_args=())
def _forward(
    triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    out = empty_rows(z, z.shape[-1])
    # Views: the result is dense, whatever the order of its rows.
    triangles, z, target = planes(triangles), pairs(z), pairs(out)
    batch, rows, length, width = z.shape
    constants = tile_constants(width, triangles.shape[1])
    options = launch_options("triangle_update", z, constants)
    with torch.cuda.device_of(z):
        forward_kernel[(tiles(z, constants["BLOCK_P"]), batch)](
            triangles, z, center_scale, center_offset, output, output_bias, scale, offset, gate, gate_bias, target,
            rows, length, padded_length(length), *triangles.stride()[:3], *z.stride()[:3], *target.stride()[:3],
            **constants, HAS_BIAS=output_bias is not None, HAS_GATE_BIAS=gate_bias is not None, **options,
        )  # fmt: skip
    return out


@_forward.register_fake
def _(triangles: Tensor, z: Tensor, *_: Tensor | None) -> Tensor:
    return empty_rows(z, z.shape[-1])


@torch.library.custom_op("foldcli::triangle_update_backward", mutates_args=())
def _backward(
    grad: Tensor, triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
) -> list[Tensor]:  # fmt: skip
    return gradients(
        grad, triangles, z, (center_scale, center_offset), (output, output_bias), (scale, offset), (gate, gate_bias)
    )


@_backward.register_fake
def _(
    grad: Tensor, triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
) -> list[Tensor]:  # fmt: skip
    like = torch.empty_like
    return [
        triangles.new_empty(triangles.shape), empty_rows(z, z.shape[-1]), like(center_scale), like(center_offset),
        like(output), output.new_empty(output.shape[0]), like(scale), like(offset), like(gate),
        gate.new_empty(gate.shape[0]),
    ]  # fmt: skip


def _save(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    found = torch.ops.foldcli.triangle_update_backward(grad, *ctx.saved_tensors)
    return tuple(value if needed else None for value, needed in zip(found, ctx.needs_input_grad, strict=True))


_forward.register_autograd(_gradients, setup_context=_save)


def triangle_update(
    product: Tensor,
    z: Tensor,
    center: tuple[Tensor, Tensor],
    output: tuple[Tensor, Tensor | None],
    norm: tuple[Tensor, Tensor],
    gate: tuple[Tensor, Tensor | None],
) -> Tensor:
    """Normalise and project the product, gated by the normalised pairs it started from (Suppl. Alg. 11, lines 3, 4).

    product: [*b, c, i, j]; z: [*b, i, j, c_z] with any strides; center: scale and offset [c]; output: weight [c_z, c]
    and bias [c_z]; norm: scale and offset [c_z]; gate: weight [c_z, c_z] and bias [c_z]. The result is [*b, i, j, c_z]
    in the memory order of z.
    """
    return torch.ops.foldcli.triangle_update(product, z, *center, *output, *norm, *gate)


def specimens() -> list[Specimen]:
    """Every type, width and tile that ships."""
    return specimens_of("triangle_update", forward_kernel, OPTIONS, SINGLE)
