"""What the kernels of the triangle product share: how they walk over pairs, multiply tiles and end a weight gradient.

Every kernel takes a tile of BLOCK_P positions. Positions count through the pairs (i, k) of one batch entry with the
length of k rounded up to a multiple of 16, so that a tile of a channel-major tensor is read and written in vectors.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import dense_channels, standardise
from foldcli_kernels.specimen import POINTER, Specimen

ALIGNMENT = 16
# Channel blocks that are declared and compiled; other widths are rounded up to one of these.
WIDTHS = (16, 32, 64, 128)
INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
# How float32 is multiplied, to full precision either way: without tensor cores, or on them as three products of halves.
# Each kernel takes the one that does not spill: with 128 channels both need many registers.
EXACT = tl.constexpr("ieee")
SPLIT = tl.constexpr("tf32x3")


@triton.jit
def product(a, b, acc, PRECISION: tl.constexpr = EXACT):
    """Matrix product of tiles, added to float32 acc."""
    if INTERPRETED:  # Triton's interpreter multiplies the bit patterns of bfloat16 as integers.
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@triton.jit
def place(tile, rows, length, padded, BLOCK_P: tl.constexpr):
    """Both indices of a tile's pairs, in int64, and which of them exist."""
    position = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    first = position // padded
    second = position % padded
    return first.to(tl.int64), second.to(tl.int64), (first < rows) & (second < length)


@triton.jit
def load_channels(x, start, inside, step, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Tile [P, BLOCK] of float32, zero outside; start: where each position's first channel lies."""
    channel = tl.arange(0, BLOCK)
    real = inside[:, None] & (channel < WIDTH)[None, :]
    # int64: channels times pairs pass 2^31 from 4097 residues on.
    return tl.load(x + start[:, None] + (channel.to(tl.int64) * step)[None, :], mask=real, other=0.0).to(tl.float32)


@triton.jit
def load_vector(x, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Scale or offset of a layer norm, zero beyond WIDTH, as float32."""
    channel = tl.arange(0, BLOCK)
    return tl.load(x + channel, mask=channel < WIDTH, other=0.0).to(tl.float32)


@triton.jit
def load_normed(x, start, inside, step, scale, offset, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Layer norm of a tile's positions [P, BLOCK], in the type of x."""
    standard, _ = standardise(load_channels(x, start, inside, step, WIDTH, BLOCK), WIDTH, BLOCK)
    normed = standard * load_vector(scale, WIDTH, BLOCK)[None, :] + load_vector(offset, WIDTH, BLOCK)[None, :]
    return normed.to(x.dtype.element_ty)


@triton.jit
def load_rows(weight, row, inside, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Rows [N, BLOCK] of a weight, zero outside."""
    channel = tl.arange(0, BLOCK)
    real = inside[:, None] & (channel < WIDTH)[None, :]
    return tl.load(weight + row[:, None] * WIDTH + channel[None, :], mask=real, other=0.0)


@triton.jit
def load_bias(bias, row, inside, HAS_BIAS: tl.constexpr, BLOCK: tl.constexpr):
    """Bias of some rows of a weight as float32, zero where there is none."""
    if HAS_BIAS:
        return tl.load(bias + row, mask=inside, other=0.0).to(tl.float32)
    else:
        return tl.zeros([BLOCK], tl.float32)


@triton.jit
def load_folded(
    weight, bias, scale, offset, row, inside, HAS_BIAS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Rows of a weight and their bias, with the layer norm before them folded in: to apply to standardised channels."""
    rows = load_rows(weight, row, inside, WIDTH, BLOCK)
    shift = tl.sum(rows.to(tl.float32) * load_vector(offset, WIDTH, BLOCK)[None, :], axis=1)
    folded = (rows.to(tl.float32) * load_vector(scale, WIDTH, BLOCK)[None, :]).to(rows.dtype)
    return folded, load_bias(bias, row, inside, HAS_BIAS, BLOCK_N) + shift


@triton.jit
def store_partial(partial, sums, value, total, line, row, inside, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Write one program's share of a weight's gradient, [N, BLOCK] at a line of float32 rows, and of its bias's."""
    channel = tl.arange(0, BLOCK)
    real = inside[:, None] & (channel < WIDTH)[None, :]
    tl.store(partial + (line + row)[:, None] * WIDTH + channel[None, :], value, mask=real)
    tl.store(sums + line + row, total, mask=inside)


def padded_length(length: int) -> int:
    """Round the length of a row of pairs up to whole vectors."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def tiles(x: Tensor, block_p: int) -> int:
    """Return how many tiles cover the pairs of one batch entry; x: [b, i, k, ...]."""
    return triton.cdiv(x.shape[1] * padded_length(x.shape[2]), block_p)


def pairs(x: Tensor) -> Tensor:
    """Pairs [*b, i, k, c] with one batch axis and channels side by side; a view wherever strides allow."""
    return dense_channels(x.reshape(-1, *x.shape[-3:]))


def planes(x: Tensor) -> Tensor:
    """Channel-major pairs [*b, c, i, k] with one batch axis and k side by side; a view wherever strides allow."""
    x = x.reshape(-1, *x.shape[-3:])
    return x if x.stride(-1) == 1 else x.contiguous()


def slices(count: int) -> int:
    """Return among how many programs a weight's gradient shares its tiles.

    It depends on the shape alone, so that sums have the same order on every device.
    """
    return max(1, min(64, count // 8))


def projection_gradients(
    partial: Tensor, sums: Tensor, weight: Tensor, norm: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of a projection's weight and bias and of the scale and offset of the layer norm before it.

    partial [p, out, in] sums, over p programs, the products of output gradients with standardised inputs, and sums
    [p, out] the output gradients; with y = standard * scale + offset all four follow from these two.
    """
    scale, offset = norm
    along, total = partial.sum(0), sums.sum(0)
    grad_weight = along * scale.float() + total[:, None] * offset.float()
    grad_scale = (along * weight.float()).sum(0)
    grad_offset = (total[:, None] * weight.float()).sum(0)
    return grad_weight.to(weight.dtype), total.to(weight.dtype), grad_scale, grad_offset


def declare_widths(name: str, options: Sequence[dict[str, int]], single: dict[str, int]) -> None:
    """Declare a kernel for every width, with the first option as default and one tile for float32."""
    for width in WIDTHS:
        declare(f"{name}_{width}", options[0], by_dtype={torch.float32: single}, candidates=options)


def launch_options(name: str, z: Tensor, constants: dict[str, int], small: str = "BLOCK_C") -> dict[str, int]:
    """Add the tile to a launch's constants and return what remains; small: the block that BLOCK_N may not exceed."""
    width = max(constants["BLOCK_C"], constants["BLOCK_H"])
    options = dict(launch_parameters(f"{name}_{width}", z.dtype, size_class(z.shape[2]), z.device))
    constants["BLOCK_N"] = min(options.pop("block_n"), constants[small])
    constants["BLOCK_P"] = options.pop("block_p")
    return options


def width_block(width: int) -> int:
    """Round a number of channels up to what a tile can have: a power of two that a matrix product accepts."""
    return max(16, triton.next_power_of_2(width))


def refuse_gradient(operation: str, data: Tensor) -> None:
    """Raise ValueError where a gradient is asked of a mask or a count, which are data; better than silence."""
    if data.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{operation}: no gradient for the mask or count of shape {tuple(data.shape)}")


def tile_constants(width: int, hidden: int) -> dict[str, int]:
    """Return a kernel's constants for pairs of `width` channels and a triangle product of `hidden`."""
    return {
        "WIDTH": width, "HIDDEN": hidden, "BLOCK_C": width_block(width), "BLOCK_H": width_block(hidden),
    }  # fmt: skip


def specimens_of(
    name: str, kernel: Any, options: Sequence[dict[str, int]], single: dict[str, int], small: str = "BLOCK_C",
    rows: str = "BLOCK_P", capabilities: tuple[int, ...] = (80, 90),
) -> list[Specimen]:  # fmt: skip
    """Every type, width and tile of one kernel.

    single: the tile of float32; small: the block that BLOCK_N may not exceed; rows: which block is the first of its
    products, of which Hopper's instructions need 64.
    """
    found = []
    for dtype in POINTER:
        for width in WIDTHS:
            for option in [single] if dtype == torch.float32 else options:
                found.append(_specimen(name, kernel, dtype, width, option, (small, rows), capabilities))
    return found


def _specimen(
    name: str, kernel: Any, dtype: torch.dtype, width: int, option: dict[str, int], blocks: tuple[str, str],
    capabilities: tuple[int, ...],
) -> Specimen:  # fmt: skip
    small, rows = blocks
    constants = tile_constants(width, width)
    block_n, block_p = min(option["block_n"], constants[small]), option["block_p"]
    constants |= {"BLOCK_N": block_n, "BLOCK_P": block_p, "HAS_BIAS": True, "HAS_GATE_BIAS": True}
    wgmma = dtype != torch.float32 and constants[rows] >= 64
    fixed = {"mask_k": 1} if "mask_k" in kernel.arg_names else {}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names} | fixed
    signature = {key: _type(key, POINTER[dtype]) for key in kernel.arg_names if key not in constants}
    whole = ("rows", "length", "per_batch", "count", "side", "mask_b", "mask_i")
    title = f"{name} {str(dtype)[6:]} c{width} {block_n}x{block_p} s{option['num_stages']}"
    return Specimen(
        title, kernel, signature, constants, option["num_warps"], option["num_stages"], wgmma, capabilities,
        divisible=tuple(key for key in signature if key not in whole),
    )  # fmt: skip


def _type(argument: str, pointer: str) -> str:
    if argument.endswith(("partial", "sums")):
        return "*fp32"
    scalar = argument[-2:] in ("_b", "_c", "_i", "_k", "_j") or argument in (
        "rows", "length", "padded", "plane", "per_batch", "count", "side",
    )  # fmt: skip
    return "i32" if scalar else pointer
