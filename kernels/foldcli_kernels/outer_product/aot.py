"""The kernels of the outer product that are compiled ahead of time, each with its types, sizes and tiles."""

from typing import Any

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.outer_product.forward import outer_product_mean_forward
from foldcli_kernels.outer_product.tiles import FLOAT32, HOPPER, NAMES, OPTIONS

# Channels of the factors and of the pairs in foldcli-mini.
MINI = (8, 64)


def aot_configs() -> list[AotConfig]:
    """Return every type, width and tile that ships."""
    return [
        _config(dtype, widths, options)
        for dtype in POINTER
        for widths in (*OPTIONS, MINI)
        for options in _tiles(dtype, next(key for key in OPTIONS if key[0] == widths[0]))
    ]


def _tiles(dtype: torch.dtype, widths: tuple[int, int]) -> list[dict[str, int]]:
    return [FLOAT32[widths]] if dtype == torch.float32 else OPTIONS[widths]


def _config(dtype: torch.dtype, widths: tuple[int, int], options: dict[str, int]) -> AotConfig:
    c, width = widths
    constants: dict[str, Any] = {"C": c, "E": c, "WIDTH": width, "BLOCK_E": c, "BLOCK_F": width, "HAS_BIAS": True}
    constants |= {key.upper(): options[key] for key in NAMES[:4]} | {"count_j": 1, "pairs": None}
    pointers = ("left", "right", "weight", "bias", "count", "out")
    signature = {
        key: POINTER[dtype] if key in pointers else "fp32" if key == "epsilon" else "i32"
        for key in outer_product_mean_forward.arg_names
        if key not in constants
    }
    divisible = tuple(key for key in signature if key[-2:] in ("_b", "_s", "_i", "_j") or key in pointers)
    if c < 16:
        divisible = tuple(key for key in divisible if key not in ("left_i", "right_j"))
    tile = f"{options['tile_i']}x{options['tile_j']} pairs, {options['block_c']} of {c} channels"
    matrix = dtype != torch.float32 and options["tile_i"] * options["block_c"] >= 64
    return AotConfig(
        f"{outer_product_mean_forward.__name__} {str(dtype)[6:]} {tile}, {options['block_s']} sequences",
        outer_product_mean_forward, signature, constants, options["num_warps"], options["num_stages"], matrix,
        (90,) if options is HOPPER else (80, 90), divisible,
    )  # fmt: skip
