"""The kernels of dropout that are compiled ahead of time, each with its types, sizes and tiles."""

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.dropout.kernel import dropout_apply_mask
from foldcli_kernels.dropout.tiles import CANDIDATES
from foldcli_kernels.tuning import Parameters


def aot_configs() -> list[AotConfig]:
    """Return the kernel in every type and candidate, with and without a residual."""
    return [_config(dtype, options, has_x) for dtype in POINTER for options in CANDIDATES for has_x in (True, False)]


def _config(dtype: torch.dtype, options: Parameters, has_x: bool) -> AotConfig:
    names = dropout_apply_mask.arg_names
    strides = [name for name in names if name[1:].isdigit()]
    pointers = ("x", "update", "out")
    constants = {
        "HAS_X": has_x, "BLOCK_M": options["block_m"], "BLOCK_S": options["block_s"], "STEPS": options["steps"],
        "x4": 1, "u4": 1, "o4": 1,
    }  # fmt: skip
    signature = {name: "i32" for name in names if name not in constants}
    signature |= dict.fromkeys(pointers, POINTER[dtype]) | {"seed": "*i64", "growth": "fp32"}
    kind = "forward" if has_x else "backward"
    return AotConfig(
        f"{dropout_apply_mask.__name__} {kind} {str(dtype)[6:]} {options['block_m']}x{options['block_s']}",
        dropout_apply_mask, signature, constants, options["num_warps"], options["num_stages"],
        divisible=(*pointers, "channels", *(name for name in strides if name not in constants)),
    )  # fmt: skip
