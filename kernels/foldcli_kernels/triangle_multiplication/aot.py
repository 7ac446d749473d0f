"""The kernels of triangle multiplication that are compiled ahead of time, each with its types, sizes and tiles."""

from typing import Any

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.triangle_multiplication.operands_backward import (
    triangle_operands_backward_input,
    triangle_operands_backward_weights,
)
from foldcli_kernels.triangle_multiplication.operands_forward import triangle_operands_forward
from foldcli_kernels.triangle_multiplication.projection import triangle_projection_gradients
from foldcli_kernels.triangle_multiplication.tiles import HOPPER, PROJECTION, SIZES, tile_constants, tiles_of
from foldcli_kernels.triangle_multiplication.update_backward import (
    triangle_update_backward_input,
    triangle_update_backward_weights,
)
from foldcli_kernels.triangle_multiplication.update_forward import triangle_update_forward

# Name of its tiles -> kernel, the block that BLOCK_N may not exceed, and which block is the first side of its products,
# of which Hopper's instructions need 64.
KERNELS = {
    "triangle_operands": (triangle_operands_forward, "BLOCK_H", "BLOCK_N"),
    "triangle_operands_pairs": (triangle_operands_backward_input, "BLOCK_H", "BLOCK_P"),
    "triangle_operands_parameters": (triangle_operands_backward_weights, "BLOCK_H", "BLOCK_N"),
    "triangle_update": (triangle_update_forward, "BLOCK_C", "BLOCK_P"),
    "triangle_update_pairs": (triangle_update_backward_input, "BLOCK_C", "BLOCK_P"),
    "triangle_update_parameters": (triangle_update_backward_weights, "BLOCK_C", "BLOCK_N"),
}


def aot_configs() -> list[AotConfig]:
    """Return every type, size and tile of every kernel."""
    found = []
    for name, (kernel, small, rows) in KERNELS.items():
        for dtype in POINTER:
            for size in SIZES:
                half, single = tiles_of(name, max(size))
                for option in [single] if dtype == torch.float32 else half:
                    found.append(_config(kernel, dtype, size, option, (small, rows)))
    weights = {shape for width, hidden in SIZES for shape in ((4 * hidden, width), (width, hidden), (width, width))}
    return [*found, *(_projection(kind, *shape) for kind in POINTER.values() for shape in sorted(weights))]


def _projection(kind: str, out: int, width: int) -> AotConfig:
    kernel, constants = triangle_projection_gradients, {"OUT": out, "WIDTH": width, **PROJECTION}
    signature = {key: _type(key, kind) for key in kernel.arg_names if key not in constants}
    return AotConfig(f"{kernel.__name__} {kind[1:]} {out}x{width}", kernel, signature, constants, 4, 2)


def _config(
    kernel: Any, dtype: torch.dtype, size: tuple[int, int], option: dict[str, int], blocks: tuple[str, str]
) -> AotConfig:
    small, rows = blocks
    constants = tile_constants(*size)
    block_n, block_p = min(option["block_n"], constants[small]), option["block_p"]
    constants |= {"BLOCK_N": block_n, "BLOCK_P": block_p, "HAS_BIAS": True, "HAS_GATE_BIAS": True, "ADD": False}
    wgmma = dtype != torch.float32 and constants[rows] >= 64
    fixed = {"mask_k": 1} if "mask_k" in kernel.arg_names else {}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names} | fixed
    signature = {key: _type(key, POINTER[dtype]) for key in kernel.arg_names if key not in constants}
    # Not known to be divisible by 16.
    any_number = ("rows", "length", "per_batch", "count", "side", "mask_b", "mask_i")
    title = f"{kernel.__name__} {str(dtype)[6:]} c{size[0]} h{size[1]} {block_n}x{block_p} s{option['num_stages']}"
    return AotConfig(
        title, kernel, signature, constants, option["num_warps"], option["num_stages"], wgmma,
        capabilities=(90,) if option is HOPPER else (80, 90),
        divisible=tuple(key for key in signature if key not in any_number),
    )  # fmt: skip


def _type(argument: str, pointer: str) -> str:
    if argument.endswith(("partial", "sums")):
        return "*fp32"
    scalar = argument[-2:] in ("_b", "_c", "_i", "_k", "_j") or argument in (
        "rows", "length", "padded", "plane", "per_batch", "count", "side",
    )  # fmt: skip
    return "i32" if scalar else pointer
