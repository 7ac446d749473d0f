"""Mean outer product of columns, projected to the pairs without ever being in device memory (Suppl. Alg. 10)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import dense_channels
from foldcli_kernels.outer_product_backward import EPS, gradients
from foldcli_kernels.specimen import POINTER, Specimen
from foldcli_kernels.triangle_tiles import product, refuse_gradient, width_block

NAMES = ("tile_i", "tile_j", "block_c", "block_s", "num_warps", "num_stages")


def _options(*tiles: tuple[int, ...]) -> list[dict[str, int]]:
    return [dict(zip(NAMES, tile, strict=True)) for tile in tiles]


# By widths of the factors and of the pairs. A tile of 8 x 8 pairs does 262,144 FLOPs a pair on 256 KB of weights from
# the L2 cache; wider ones do not fit in registers beside what is summed over sequences. Of one group of channels of the
# left factor a tile reads 16 bytes a column and sequence, or 32 with the last option, which only Hopper has memory for.
OPTIONS = {
    (32, 128): _options((8, 8, 8, 32, 8, 3), (16, 8, 4, 32, 8, 3), (8, 8, 16, 32, 8, 2)),
    (8, 32): _options((8, 8, 8, 32, 4, 3), (8, 16, 8, 32, 8, 3)),
}
HOPPER = OPTIONS[32, 128][-1]
SINGLE = {(32, 128): _options((4, 4, 4, 16, 4, 2))[0], (8, 32): _options((4, 4, 8, 16, 4, 2))[0]}
for _widths, _half in OPTIONS.items():
    declare(f"outer_product_{_widths[0]}", _half[0], by_dtype={torch.float32: SINGLE[_widths]}, candidates=_half)


@triton.jit
def forward_kernel(
    left, right, weight, bias, count, out, sequences, rows, length, left_b, left_s, left_i, right_b, right_s, right_j,
    count_b, count_i, count_j, epsilon,
    C: tl.constexpr, E: tl.constexpr, WIDTH: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_F: tl.constexpr,
    TILE_I: tl.constexpr, TILE_J: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(2).to(tl.int64)
    first, second = tl.program_id(1) * TILE_I, tl.program_id(0) * TILE_J
    feature = tl.arange(0, BLOCK_F)
    along_left, along_right = tl.arange(0, TILE_I * BLOCK_C), tl.arange(0, TILE_J * BLOCK_E)
    i, j, e = first + along_left // BLOCK_C, second + along_right // BLOCK_E, along_right % BLOCK_E
    right_inside = (j < length) & (e < E)
    both = tl.arange(0, BLOCK_C * BLOCK_E)
    total = tl.zeros([TILE_I * TILE_J, BLOCK_F], tl.float32)
    for start in range(0, C, BLOCK_C):
        c = start + along_left % BLOCK_C
        left_inside = (i < rows) & (c < C)
        outer = tl.zeros([TILE_I * BLOCK_C, TILE_J * BLOCK_E], tl.float32)
        for sequence in range(0, sequences, BLOCK_S):
            s = tl.arange(0, BLOCK_S)
            inside = sequence + s < sequences
            # int64 once a block: sequences times columns times channels can pass 2^31.
            at_left = left + batch * left_b + tl.cast(sequence, tl.int64) * left_s
            at_right = right + batch * right_b + tl.cast(sequence, tl.int64) * right_s
            a = tl.load(
                at_left + (i * left_i + c)[:, None] + s[None, :] * left_s,
                mask=left_inside[:, None] & inside[None, :], other=0.0,
            )  # fmt: skip
            b = tl.load(
                at_right + s[:, None] * right_s + (j * right_j + e)[None, :],
                mask=inside[:, None] & right_inside[None, :], other=0.0,
            )  # fmt: skip
            outer = product(a, b, outer)
        # [i, c, j, e] to [i j, c e]: one row for each pair
        outer = tl.reshape(outer.to(left.dtype.element_ty), (TILE_I, BLOCK_C, TILE_J, BLOCK_E))
        outer = tl.reshape(tl.permute(outer, (0, 2, 1, 3)), (TILE_I * TILE_J, BLOCK_C * BLOCK_E))
        c, e_of = start + both // BLOCK_E, both % BLOCK_E
        rows_of = tl.load(
            weight + feature[None, :] * (C * E) + (c * E + e_of)[:, None],
            mask=((c < C) & (e_of < E))[:, None] & (feature < WIDTH)[None, :], other=0.0,
        )  # fmt: skip
        total = product(outer, rows_of, total)
    pair = tl.arange(0, TILE_I * TILE_J)
    i_out, j_out = (first + pair // TILE_J).to(tl.int64), (second + pair % TILE_J).to(tl.int64)
    exists = (i_out < rows) & (j_out < length)
    covered = tl.load(count + batch * count_b + i_out * count_i + j_out * count_j, mask=exists, other=1.0)
    if HAS_BIAS:
        total += tl.load(bias + feature, mask=feature < WIDTH, other=0.0).to(tl.float32)[None, :]
    result = total / (covered.to(tl.float32) + epsilon)[:, None]
    target = ((batch * rows + i_out) * length + j_out) * WIDTH
    tl.store(
        out + target[:, None] + feature[None, :], result.to(out.dtype.element_ty),
        mask=exists[:, None] & (feature < WIDTH)[None, :],
    )  # fmt: skip


def _empty(left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    return left.new_empty((*left.shape[:-3], left.shape[-2], right.shape[-2], weight.shape[0]))


def _launch_options(left: Tensor, length: int, widths: tuple[int, int, int]) -> tuple[dict[str, int], dict[str, int]]:
    c, e, width = widths
    name = "outer_product_8" if max(c, e) <= 8 else "outer_product_32"
    options = dict(launch_parameters(name, left.dtype, size_class(length), left.device))
    # A matrix product takes no side below 16.
    block_e = max(triton.next_power_of_2(e), 16 // options["tile_j"])
    constants = {"C": c, "E": e, "WIDTH": width, "BLOCK_E": block_e, "BLOCK_F": width_block(width)}
    return constants | {key.upper(): options.pop(key) for key in NAMES[:4]}, options


@torch.library.custom_op("foldcli::outer_product_mean", mutates_args=())
def _forward(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None, count: Tensor) -> Tensor:
    out = _empty(left, right, weight)
    left, right = (dense_channels(x.reshape(-1, *x.shape[-3:])) for x in (left, right))
    count, weight = count.reshape(-1, *count.shape[-2:]), weight.contiguous()
    batch, sequences, rows, c = left.shape
    length, e = right.shape[-2:]
    constants, options = _launch_options(left, length, (c, e, weight.shape[0]))
    grid = (triton.cdiv(length, constants["TILE_J"]), triton.cdiv(rows, constants["TILE_I"]), batch)
    with torch.cuda.device_of(left):
        forward_kernel[grid](
            left, right, weight, bias, count, out, sequences, rows, length, *left.stride()[:3], *right.stride()[:3],
            *count.stride(), EPS, **constants, HAS_BIAS=bias is not None, **options,
        )  # fmt: skip
    return out


@_forward.register_fake
def _(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None, count: Tensor) -> Tensor:
    return _empty(left, right, weight)


@torch.library.custom_op("foldcli::outer_product_mean_backward", mutates_args=())
def _backward(
    grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return gradients(grad, left, right, weight, count)


@_backward.register_fake
def _(
    grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = left.new_empty(left.shape), right.new_empty(right.shape), weight.new_empty(weight.shape)
    return *like, weight.new_empty(weight.shape[0])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor], output: Tensor) -> None:
    left, right, weight, _, count = inputs
    ctx.save_for_backward(left, right, weight, count)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    left, right, weight, bias = torch.ops.foldcli.outer_product_mean_backward(grad, *ctx.saved_tensors)
    return left, right, weight, bias if ctx.needs_input_grad[3] else None, None


_forward.register_autograd(_gradients, setup_context=_save)


def outer_product_mean(left: Tensor, right: Tensor, projection: tuple[Tensor, Tensor | None], count: Tensor) -> Tensor:
    """Outer products of columns, summed over sequences, projected, divided by how many cover both (Suppl. Alg. 10).

    left: [*b, s, i, c]; right: [*b, s, j, e]; projection: weight [f, c e] and bias [f]; count: [*b, i, j], which gets
    no gradient. The result is [*b, i, j, f].
    """
    refuse_gradient("outer_product_mean", count)
    return torch.ops.foldcli.outer_product_mean(left, right, *projection, count)


def specimens() -> list[Specimen]:
    """Every type, width and tile that ships."""
    return [
        _specimen(dtype, widths, options)
        for dtype in POINTER
        for widths in OPTIONS
        for options in ([SINGLE[widths]] if dtype == torch.float32 else OPTIONS[widths])
    ]


def _specimen(dtype: torch.dtype, widths: tuple[int, int], options: dict[str, int]) -> Specimen:
    c, width = widths
    constants: dict[str, Any] = {"C": c, "E": c, "WIDTH": width, "BLOCK_E": c, "BLOCK_F": width, "HAS_BIAS": True}
    constants |= {key.upper(): options[key] for key in NAMES[:4]} | {"count_j": 1}
    pointers = ("left", "right", "weight", "bias", "count", "out")
    signature = {
        key: POINTER[dtype] if key in pointers else "fp32" if key == "epsilon" else "i32"
        for key in forward_kernel.arg_names
        if key not in constants
    }
    divisible = tuple(key for key in signature if key[-2:] in ("_b", "_s", "_i", "_j") or key in pointers)
    if c < 16:
        divisible = tuple(key for key in divisible if key not in ("left_i", "right_j"))
    tile = f"{options['tile_i']}x{options['tile_j']} pairs, {options['block_c']} of {c} channels"
    matrix = dtype != torch.float32 and options["tile_i"] * options["block_c"] >= 64
    return Specimen(
        f"outer_product_mean {str(dtype)[6:]} {tile}, {options['block_s']} sequences", forward_kernel, signature,
        constants, options["num_warps"], options["num_stages"], matrix,
        (90,) if options is HOPPER else (80, 90), divisible,
    )  # fmt: skip
