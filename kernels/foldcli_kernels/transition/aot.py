"""The kernels of the transition that are compiled ahead of time, each with its types, sizes and tiles."""

import itertools
from typing import Any

import torch
import triton

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.norm_linear.tiles import width_class
from foldcli_kernels.transition.backward import transition_backward_input, transition_backward_weights
from foldcli_kernels.transition.forward import transition_forward
from foldcli_kernels.transition.tiles import ADDED, FORWARD, INPUT, SIZES, WEIGHTS
from foldcli_kernels.tuning import Parameters

# Each kernel with its tiles, and with the block that is the first side of its products.
KERNELS = (
    (transition_forward, FORWARD, "block_m"),
    (transition_backward_input, INPUT, "block_m"),
    (transition_backward_weights, WEIGHTS, "block_h"),
)


def aot_configs() -> list[AotConfig]:
    """Return all kernels in every type, size and candidate that ships."""
    found = []
    for kernel, table, rows in KERNELS:
        for dtype in POINTER:
            for size in SIZES:
                half, single, more = table.get(size) or table[width_class(size[0])]
                for options in [single] if dtype == torch.float32 else [half, *more]:
                    found.append(_config(kernel, dtype, size, options, options[rows]))
    for dtype, size in itertools.product((torch.bfloat16, torch.float16), SIZES):
        options = ADDED[width_class(size[0])]
        found.append(_config(transition_forward, dtype, size, options, options["block_m"]))
    return found


def _config(kernel: Any, dtype: torch.dtype, size: tuple[int, int], options: Parameters, wgmma_rows: int) -> AotConfig:
    """Describe a kernel as it is launched on a dense tensor."""
    names = kernel.arg_names
    width, hidden = size
    constants = {
        "WIDTH": width, "HIDDEN": hidden, "EXPAND_BIAS": True, "CONTRACT_BIAS": True, "middle": 1, "inner": 1,
        "BLOCK_C": triton.next_power_of_2(width), "BLOCK_M": options["block_m"], "BLOCK_H": options["block_h"],
        "BLOCK_K": options["block_k"], "PRECISION": "tf32x3" if dtype == torch.float32 else "ieee",
        "INNER": width if "block_u" in options else 0, "BLOCK_U": options.get("block_u", 0),
    }  # fmt: skip
    if "block_u" not in options:
        constants |= dict.fromkeys(("update", "update_weight", "update_bias"))
    steps = [name for name in names if name[1:].isdigit()]
    pointers = [name for name in names if name not in (*constants, *steps, "rows", "blocks")]
    signature = dict.fromkeys((name for name in names if name not in constants), "i32")
    signature |= {name: "*fp32" if name.startswith("partial") else POINTER[dtype] for name in pointers}
    return AotConfig(
        f"{kernel.__name__} {str(dtype)[6:]} c{width} h{hidden} {options['block_m']}x{options['block_h']}"
        + " added" * ("block_u" in options),
        kernel, signature, {name: value for name, value in constants.items() if name in names},
        options["num_warps"], options["num_stages"], dtype != torch.float32 and wgmma_rows >= 64,
        divisible=(*pointers, *steps),
    )  # fmt: skip
