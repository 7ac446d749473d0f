"""The kernels of attention that are compiled ahead of time, each with its types, sizes and tiles."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.attention import backward
from foldcli_kernels.attention.forward import attention_forward
from foldcli_kernels.attention.mask import attention_mask_fill
from foldcli_kernels.attention.tiles import DIMS, GATE, HOPPER, MASK_BLOCK, TILES, parameters, tile_constants
from foldcli_kernels.matmul import padded_width
from foldcli_kernels.tuning import Parameters

KERNELS = {
    "forward": attention_forward,
    "key_backward": backward.attention_backward_dkv,
    "query_backward": backward.attention_backward_dq,
    "bias_backward": backward.attention_backward_dbias,
}
COUNTS = ("heads", "groups", "length", "pitch", "keys_pitch", "row_groups", "rows", "shares", "per_share")
# Pointers to the type of the tensors; all others are to float32.
OPERANDS = ("packed", "gate_bias", "bias", "out", "grad", "grad_packed")


def aot_configs() -> list[AotConfig]:
    """Return every configuration of the attention kernels that ships."""
    found = [_gate(dtype, dim, GATE[0]) for dtype in POINTER for dim in DIMS]
    masks = [_mask(mask, fill) for kind in POINTER.values() for mask in ("*u8", kind) for fill in {kind, "*fp32"}]
    return [*found, *masks, *_steps()]


def _steps() -> Iterator[AotConfig]:
    for (step, width, biased), tiles in TILES.items():
        more = HOPPER.get((step, width, biased), ([], []))
        for dtype, dim in itertools.product(POINTER, [dim for dim in DIMS if padded_width(dim) == width]):
            single = dtype == torch.float32
            for tile, precision in itertools.product(
                tiles[single] + more[single], ("tf32x3", "tf32") if single else ("ieee",)
            ):
                options = parameters(step, tile)
                constants = tile_constants(dim, options, precision) | ({} if biased else {"bias": None})
                words = [KERNELS[step].__name__, str(dtype)[6:], f"d{dim}", "bias" if biased else "plain", precision]
                name = " ".join([*words, "x".join(map(str, tile))])
                capabilities = (80, 90) if tile in tiles[single] else (90,)
                yield _config(name, KERNELS[step], dtype, constants, options, capabilities)


def _config(
    name: str, kernel: Any, dtype: torch.dtype, constants: dict[str, Any], options: Parameters,
    capabilities: tuple[int, ...] = (80, 90),
) -> AotConfig:  # fmt: skip
    signature = {name: _kind(name, dtype) for name in kernel.arg_names if name not in constants}
    if "fill" in signature:
        signature["fill"] = signature.get("bias", "*fp32")
    divisible = [name for name, kind in signature.items() if kind != "i32" or name.endswith("pitch")]
    return AotConfig(
        name, kernel, signature, constants, options["num_warps"], options["num_stages"],
        needs_wgmma="PRECISION" in constants and dtype != torch.float32, capabilities=capabilities,
        divisible=tuple(divisible),
    )  # fmt: skip


def _kind(name: str, dtype: torch.dtype) -> str:
    if name in COUNTS:
        return "i32"
    return "i64" if name[-2] == "_" else POINTER[dtype] if name in OPERANDS else "*fp32"


def _gate(dtype: torch.dtype, dim: int, options: Parameters) -> AotConfig:
    kernel = backward.attention_backward_gate
    constants = {"DIM": dim, "WIDTH": padded_width(dim), "BLOCK_M": options["block_m"]}
    return _config(f"{kernel.__name__} {str(dtype)[6:]} d{dim}", kernel, dtype, constants, options)


def _mask(mask: str, fill: str) -> AotConfig:
    kernel, constants = attention_mask_fill, {"BLOCK": MASK_BLOCK}
    signature = {name: _kind(name, torch.float32) for name in kernel.arg_names if name not in constants}
    return AotConfig(
        f"{kernel.__name__} {mask[1:]} -> {fill[1:]}", kernel, {**signature, "mask": mask, "fill": fill}, constants,
        num_warps=1, divisible=("mask", "fill", "unit", "keys_pitch"),
    )  # fmt: skip
