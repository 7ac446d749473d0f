"""The kernels of layer norm and projections that are compiled ahead of time, for each projection of the model."""

import torch
import triton

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.matmul import NARROWEST
from foldcli_kernels.norm_linear.backward import norm_linear_backward_input, norm_linear_backward_weights
from foldcli_kernels.norm_linear.forward import norm_linear_forward
from foldcli_kernels.norm_linear.tiles import (
    FORWARD,
    FORWARD_FLOAT32,
    INPUT,
    WEIGHTS,
    WIDTHS,
    column_block,
    width_class,
)
from foldcli_kernels.tuning import Parameters


def aot_configs() -> list[AotConfig]:
    """Return all kernels in every type, width and candidate that ships."""
    return [config for dtype in POINTER for width in WIDTHS for config in _of(dtype, width)]


def _of(dtype: torch.dtype, width: int) -> list[AotConfig]:
    half, more = FORWARD[width_class(width)]
    found = [
        _forward(dtype, width, out, out2, options)
        for options in ([FORWARD_FLOAT32] if dtype == torch.float32 else [half, *more])
        for out, out2 in ((4 * width, 0), (4 * width, 4))
    ]
    for kernel, table in ((norm_linear_backward_input, INPUT), (norm_linear_backward_weights, WEIGHTS)):
        half, single, more = table[width_class(width)]
        for options in [single] if dtype == torch.float32 else [half, *more]:
            found.append(_backward(kernel.arg_names, kernel, dtype, width, options))
    return found


def _constants(width: int, options: Parameters, block_n: int, dtype: torch.dtype) -> dict[str, int | str]:
    """Return what all kernels have in common; as launched on a dense tensor, whose rows have one axis."""
    return {
        "WIDTH": width, "BLOCK_C": triton.next_power_of_2(width), "BLOCK_M": options["block_m"], "BLOCK_N": block_n,
        "BLOCK_N2": NARROWEST, "PRECISION": "tf32x3" if dtype == torch.float32 else "ieee", "middle": 1, "inner": 1,
    }  # fmt: skip


def _forward(dtype: torch.dtype, width: int, out: int, out2: int, options: Parameters) -> AotConfig:
    block_n, block_k = column_block(out, options["block_n"]), options["block_k"]
    constants = _constants(width, options, block_n, dtype)
    constants |= {"OUT": out, "OUT2": out2, "HAS_BIAS": False, "HAS_BIAS2": False, "BLOCK_K": block_k}
    pointers = ("x", "scale", "offset", "weight", "bias", "out", "weight2", "bias2", "out2")
    steps = ("x0", "x1", "x2")
    tile = f"{options['block_m']}x{block_n}x{block_k}"
    return AotConfig(
        f"norm_linear_forward {str(dtype)[6:]} c{width} -> {out} + {out2} {tile}", norm_linear_forward,
        dict.fromkeys(pointers, POINTER[dtype]) | dict.fromkeys((*steps, "rows"), "i32"), constants,
        options["num_warps"], options["num_stages"], dtype != torch.float32, divisible=(*pointers, *steps),
    )  # fmt: skip


def _backward(names: list[str], kernel: object, dtype: torch.dtype, width: int, options: Parameters) -> AotConfig:
    block_m, block_n = options["block_m"], column_block(4 * width, options["block_n"])
    constants = _constants(width, options, block_n, dtype) | {"OUT": 4 * width, "OUT2": 4, "HAS_BIAS": True}
    constants = {name: value for name, value in constants.items() if name in names}
    pointers = [name for name in names if not name[1:].isdigit() and name not in (*constants, "rows", "blocks")]
    steps = [name for name in names if name[1:].isdigit()]
    signature = dict.fromkeys(names, "i32") | dict.fromkeys(pointers, POINTER[dtype])
    signature |= {name: "*fp32" for name in names if name.startswith("partial")}
    step, wgmma_rows = ("input", block_m) if kernel is norm_linear_backward_input else ("weights", block_n)
    return AotConfig(
        f"norm_linear_backward_{step} {str(dtype)[6:]} c{width} {block_m}x{block_n}", kernel,
        {name: kind for name, kind in signature.items() if name not in constants}, constants,
        options["num_warps"], options["num_stages"], dtype != torch.float32 and wgmma_rows >= 64,
        divisible=(*pointers, *steps),
    )  # fmt: skip
