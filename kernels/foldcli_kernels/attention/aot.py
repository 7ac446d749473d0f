"""The kernels of attention that are compiled ahead of time, each with its types, sizes and tiles."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.attention.backward import attention_backward_dkv, attention_backward_dq, attention_backward_gate
from foldcli_kernels.attention.forward import attention_forward
from foldcli_kernels.attention.tiles import DIMS, GATE, HOPPER, TILES, Tile, tile_constants
from foldcli_kernels.matmul import padded_width

COUNTS = ("heads", "groups", "length", "pitch", "row_groups", "rows", "shares", "per_share")


def aot_configs() -> list[AotConfig]:
    """Return every configuration of the attention kernels that ships."""
    found = list(_step("forward", attention_forward, frozenset({"packed", "bias", "out"}), ("bias",)))
    found += [_gate(dtype, dim, GATE[0]) for dtype in POINTER for dim in DIMS]
    operands = frozenset({"packed", "bias", "grad_packed"})
    found += _step("key_backward", attention_backward_dkv, operands, ("bias",))
    found += _step("query_backward", attention_backward_dq, operands, ("bias", "bias_sums"))
    return found


def _step(step: str, kernel: Any, operands: frozenset[str], optional: tuple[str, ...]) -> Iterator[AotConfig]:
    """Describe every configuration of a step; operands: pointers to the tensors' type; optional: those of the bias."""
    for (tile_step, width, biased), tiles in TILES.items():
        more = HOPPER.get((tile_step, width, biased), ([], []))
        for dtype, dim in itertools.product(POINTER, [dim for dim in DIMS if padded_width(dim) == width]):
            single = dtype == torch.float32
            everywhere, shipped = tiles[single], tiles[single] + more[single]
            for tile, precision in itertools.product(shipped, ("tf32x3", "tf32") if single else ("ieee",)):
                if tile_step == step:
                    constants = tile_constants(dim, *tile[:3], precision) | dict.fromkeys(() if biased else optional)
                    capabilities = (80, 90) if tile in everywhere else (90,)
                    yield _config(kernel, dtype, operands, constants, tile, capabilities)


def _config(
    kernel: Any, dtype: torch.dtype, operands: frozenset[str], constants: dict[str, Any], tile: Tile,
    capabilities: tuple[int, ...],
) -> AotConfig:  # fmt: skip
    signature = _signature(kernel, constants)
    signature |= {name: POINTER[dtype] for name in signature if name in operands}
    divisible = [name for name, kind in signature.items() if kind[0] == "*" or name == "pitch"]
    divisible += [name for name, kind in signature.items() if kind == "i64" and not name.startswith("mask")]
    words = [kernel.__name__, str(dtype)[6:], f"d{constants['DIM']}", "plain" if "bias" in constants else "bias"]
    return AotConfig(
        " ".join([*words, constants["PRECISION"], "x".join(map(str, tile))]), kernel, signature, constants,
        num_warps=tile[3], num_stages=tile[4], needs_wgmma=dtype != torch.float32, capabilities=capabilities,
        divisible=tuple(divisible),
    )  # fmt: skip


def _signature(kernel: Any, constants: dict[str, Any]) -> dict[str, str]:
    """Return the types of a kernel's arguments, all pointers to float32."""
    names = [name for name in kernel.arg_names if name not in constants]
    return {name: "i32" if name in COUNTS else "i64" if name[-2] == "_" else "*fp32" for name in names}


def _gate(dtype: torch.dtype, dim: int, options: dict[str, int]) -> AotConfig:
    kernel = attention_backward_gate
    constants = {"DIM": dim, "WIDTH": padded_width(dim), "BLOCK_M": options["block_m"]}
    signature = _signature(kernel, constants)
    signature |= dict.fromkeys(("grad", "packed", "out", "grad_packed"), POINTER[dtype])
    return AotConfig(
        f"{kernel.__name__} {str(dtype)[6:]} d{dim}", kernel, signature, constants,
        options["num_warps"], options["num_stages"],
        divisible=tuple(name for name, kind in signature.items() if kind != "i32"),
    )  # fmt: skip
