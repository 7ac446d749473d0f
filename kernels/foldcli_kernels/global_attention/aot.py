"""The kernels of global attention that are compiled ahead of time, each with its types, sizes and tiles."""

from typing import Any

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.global_attention.backward import global_attention_backward
from foldcli_kernels.global_attention.forward import global_attention_forward
from foldcli_kernels.global_attention.tiles import DIMS, FLOAT32, OPTIONS
from foldcli_kernels.matmul import padded_width


def aot_configs() -> list[AotConfig]:
    """Return every kernel, type, head dim and tile that ships."""
    return [
        _config(kernel, dtype, dim, options)
        for step, kernel in (("forward", global_attention_forward), ("backward", global_attention_backward))
        for dtype in POINTER
        for dim in DIMS
        for options in ([FLOAT32] if dtype == torch.float32 else OPTIONS[step])
    ]


def _config(kernel: Any, dtype: torch.dtype, dim: int, options: dict[str, int]) -> AotConfig:
    constants = {"HEADS": 8, "DIM": dim, "BLOCK_H": 16, "BLOCK_D": padded_width(dim), "BLOCK_S": options["block_s"]}
    signature = {}
    for name in kernel.arg_names:
        if name == "scale":
            signature[name] = "fp32"
        elif name == "statistics":
            signature[name] = "*fp32"
        elif name not in constants:
            signature[name] = (
                "i32" if name[-2:] in ("_b", "_n", "_h", "_s") or name in ("columns", "keys") else POINTER[dtype]
            )
    # Not known to be divisible by 16.
    any_number = ("scale", "columns", "keys", "mask_b", "mask_n", "mask_s", *(("q_h", "grad_h") if dim == 8 else ()))
    title = f"{kernel.__name__} {str(dtype)[6:]} d{dim} {options['block_s']} keys"
    divisible = tuple(name for name in signature if name not in any_number)
    return AotConfig(
        title, kernel, signature, constants, options["num_warps"], options["num_stages"], divisible=divisible
    )
