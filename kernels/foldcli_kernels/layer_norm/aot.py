"""The kernels of the layer norm that are compiled ahead of time, each with its types, sizes and tiles."""

from typing import Any

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.layer_norm.backward import layer_norm_backward
from foldcli_kernels.layer_norm.forward import layer_norm_forward
from foldcli_kernels.layer_norm.tiles import BACKWARD, FORWARD, tile


def aot_configs() -> list[AotConfig]:
    """Return every kernel, type and width that ships, at every candidate's tile."""
    found = []
    for dtype, pointer in POINTER.items():
        for width in (32, 64, 128, 256, 384):
            for kernel, candidates in ((layer_norm_forward, FORWARD), (layer_norm_backward, BACKWARD)):
                for options in candidates:
                    found.append(_config(kernel, dtype, pointer, width, options))
    return found


def _config(kernel: Any, dtype: torch.dtype, pointer: str, width: int, options: dict[str, int]) -> AotConfig:
    names = kernel.arg_names
    constants = tile(width, options["elements"])
    pointers = {"x", "scale", "offset", "out", "grad", "grad_x"}
    strides = [name for name in names if name[1:].isdigit()]
    signature = {name: pointer if name in pointers else "i32" for name in names if name not in constants}
    if "partial" in signature:
        signature["partial"] = "*fp32"
    # As launched on a dense tensor: one axis of rows, channels side by side.
    fixed = {"middle": 1, "inner": 1, "x_channel": 1}
    name = f"{kernel.__name__} {str(dtype)[6:]} c{width} {constants['BLOCK_M']} rows"
    divisible = tuple(n for n, kind in signature.items() if kind.startswith("*")) + tuple(strides)
    return AotConfig(
        name, kernel, {n: t for n, t in signature.items() if n not in fixed}, {**constants, **fixed},
        options["num_warps"], options["num_stages"], divisible=divisible,
    )  # fmt: skip
