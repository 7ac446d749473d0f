"""The kernels of layer norm and projections that are compiled ahead of time, for each projection of the model."""

from typing import Any

import torch
import triton

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.matmul import NARROWEST
from foldcli_kernels.norm_linear.backward import norm_linear_backward_input, norm_linear_backward_weights
from foldcli_kernels.norm_linear.forward import norm_linear_forward
from foldcli_kernels.norm_linear.tiles import (
    ADDED,
    FORWARD,
    FORWARD_FLOAT32,
    INPUT,
    NARROW_WEIGHTS,
    WEIGHTS,
    WIDTHS,
    column_block,
    width_class,
)
from foldcli_kernels.tuning import Parameters

# Columns of projections besides those of attention: biases of rows, and by a mask both factors of the outer product.
MORE = {64: ((32, 32),), 128: ((8, 0),), 256: ((32, 32), (8, 8))}


def aot_configs() -> list[AotConfig]:
    """Return all kernels in every type, width and candidate that ships."""
    return [config for dtype in POINTER for width in WIDTHS for config in _of(dtype, width)]


def _of(dtype: torch.dtype, width: int) -> list[AotConfig]:
    half, more = FORWARD[width_class(width)]
    found = [
        _forward(dtype, width, out, out2, options)
        for options in ([FORWARD_FLOAT32] if dtype == torch.float32 else [half, *more])
        for out, out2 in ((4 * width, 0), (4 * width, 4), *MORE.get(width, ()))
    ]
    if width in ADDED and dtype != torch.float32:
        found += [_forward(dtype, width, 4 * width, out2, ADDED[width]) for out2 in (0, 4)]
    for kernel, table, out in (
        (norm_linear_backward_input, INPUT, 4 * width),
        (norm_linear_backward_weights, WEIGHTS, 4 * width),
        (norm_linear_backward_weights, NARROW_WEIGHTS, NARROWEST // 2),
    ):
        half, single, more = table[width_class(width)]
        for options in [single] if dtype == torch.float32 else [half, *more]:
            found.append(_backward(kernel, dtype, width, out, options))
    return found


def _constants(width: int, options: Parameters, block_n: int, dtype: torch.dtype) -> dict[str, int | str | None]:
    """Return what all kernels have in common; as launched on a dense tensor, whose rows have one axis."""
    return {
        "WIDTH": width, "BLOCK_C": triton.next_power_of_2(width), "BLOCK_M": options["block_m"], "BLOCK_N": block_n,
        "BLOCK_N2": NARROWEST, "PRECISION": "tf32x3" if dtype == torch.float32 else "ieee", "middle": 1, "inner": 1,
    }  # fmt: skip


def _forward(dtype: torch.dtype, width: int, out: int, out2: int, options: Parameters) -> AotConfig:
    """Describe a pass over dense rows, with an update added first where its tile is for that."""
    block_n, block_k, added = column_block(out, options["block_n"]), options["block_k"], "block_u" in options
    constants = _constants(width, options, block_n, dtype)
    masked = out == out2
    constants |= {"OUT": out, "OUT2": out2, "HAS_BIAS": masked, "HAS_BIAS2": masked, "BLOCK_K": block_k}
    constants |= {"BLOCK_N2": column_block(out2 or out, options["block_n"])}
    constants |= {"INNER": width if added else 0, "BLOCK_U": options.get("block_u", 0)}
    constants |= {} if masked else {"keep": None}
    constants |= {} if added else dict.fromkeys(("update", "update_weight", "update_bias", "total"))
    for step, columns in (("a_column", out), ("b_column", out2 or out)):
        constants |= {step: 1} if masked or columns > NARROWEST else {}  # else planes
    names = [name for name in norm_linear_forward.arg_names if name not in constants]
    steps = [name for name in names if name[1:].isdigit() or name[1:] == "_column"]
    counts = "rows", "last", "spare", "spare2"
    pointers = [name for name in names if name not in (*steps, *counts)]
    tile = f"{options['block_m']}x{block_n}x{block_k}{' added' * added}"
    return AotConfig(
        f"norm_linear_forward {str(dtype)[6:]} c{width} -> {out} + {out2} {tile}", norm_linear_forward,
        dict.fromkeys(pointers, POINTER[dtype]) | dict.fromkeys((*steps, *counts), "i32"), constants,
        options["num_warps"], options["num_stages"], dtype != torch.float32, divisible=(*pointers, *steps),
    )  # fmt: skip


def _backward(kernel: Any, dtype: torch.dtype, width: int, out: int, options: Parameters) -> AotConfig:
    names, block_m, block_n = kernel.arg_names, options["block_m"], column_block(out, options["block_n"])
    constants = _constants(width, options, block_n, dtype) | {"OUT": out, "OUT2": 4, "HAS_BIAS": True}
    constants = {name: value for name, value in constants.items() if name in names}
    pointers = [name for name in names if not name[1:].isdigit() and name not in (*constants, "rows", "blocks")]
    steps = [name for name in names if name[1:].isdigit() and (name[0] != "g" or out % NARROWEST == 0)]
    signature = dict.fromkeys(names, "i32") | dict.fromkeys(pointers, POINTER[dtype])
    signature |= {name: "*fp32" for name in names if name.startswith("partial")}
    step, wgmma_rows = ("input", block_m) if kernel is norm_linear_backward_input else ("weights", block_n)
    return AotConfig(
        f"norm_linear_backward_{step} {str(dtype)[6:]} c{width} -> {out} {block_m}x{block_n}", kernel,
        {name: kind for name, kind in signature.items() if name not in constants}, constants,
        options["num_warps"], options["num_stages"], dtype != torch.float32 and wgmma_rows >= 64,
        divisible=(*pointers, *steps),
    )  # fmt: skip
