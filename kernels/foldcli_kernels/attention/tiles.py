"""Tiles of the attention kernels, by step, head dim and precision."""

from typing import Any

import torch
from torch import Tensor

from foldcli_kernels.matmul import float32_precision, padded_width
from foldcli_kernels.tuning import Parameters, declare, launch_parameters, size_class

# What a tile consists of. Rows, which share a tile of the bias, are those of the forward kernel alone.
FIELDS = ("rows", "block_m", "block_n", "num_warps", "num_stages")
Tile = tuple[int, ...]
# (step, padded head dim, with a bias) -> tiles in half precision, tiles in float32. All are compiled for sm_80 and
# sm_90; the first of each is the default, the others are what tuning tries besides. Larger ones spill on sm_80. The
# steps: key_backward is the kernel attention_backward_dkv, query_backward attention_backward_dq, bias_backward
# attention_backward_dbias.
TILES: dict[tuple[str, int, bool], tuple[list[Tile], list[Tile]]] = {
    ("forward", 16, True): ([(1, 128, 64, 8, 2), (2, 64, 64, 4, 2)], [(1, 64, 32, 4, 1)]),
    ("forward", 16, False): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 2)], [(1, 64, 32, 4, 1)]),
    ("forward", 32, True): ([(2, 128, 64, 8, 2)], [(1, 64, 32, 4, 2)]),
    ("forward", 32, False): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 2)], [(1, 64, 32, 4, 2)]),
    ("forward", 64, True): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 2)], [(1, 32, 16, 4, 1)]),
    ("forward", 64, False): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 2)], [(1, 32, 16, 4, 1)]),
    ("key_backward", 16, True): ([(64, 128, 8, 2), (64, 64, 4, 2)], [(32, 64, 4, 2)]),
    ("key_backward", 16, False): ([(64, 128, 8, 2), (64, 64, 4, 2)], [(32, 64, 4, 2)]),
    ("key_backward", 32, True): ([(64, 128, 8, 1)], [(16, 64, 4, 1)]),
    ("key_backward", 32, False): ([(64, 128, 8, 2), (32, 64, 4, 2)], [(16, 64, 4, 1)]),
    ("key_backward", 64, True): ([(32, 128, 8, 1)], [(16, 32, 4, 1)]),
    ("key_backward", 64, False): ([(64, 128, 8, 2), (32, 64, 4, 2)], [(16, 32, 4, 1)]),
    ("query_backward", 16, True): ([(128, 64, 8, 2), (64, 64, 4, 2)], [(64, 32, 4, 1)]),
    ("query_backward", 16, False): ([(128, 64, 8, 2), (64, 64, 4, 2)], [(64, 32, 4, 2)]),
    ("query_backward", 32, True): ([(128, 64, 8, 2), (64, 64, 4, 2)], [(64, 16, 4, 1)]),
    ("query_backward", 32, False): ([(128, 64, 8, 2), (64, 64, 4, 2)], [(64, 32, 4, 2)]),
    ("query_backward", 64, True): ([(64, 32, 4, 2)], [(32, 16, 4, 1)]),
    ("query_backward", 64, False): ([(128, 64, 8, 2), (64, 64, 4, 2)], [(32, 16, 4, 1)]),
    ("bias_backward", 16, True): ([(64, 64, 4, 1)], [(32, 32, 4, 1)]),
    ("bias_backward", 32, True): ([(64, 64, 4, 1)], [(32, 32, 4, 1)]),
    ("bias_backward", 64, True): ([(64, 32, 4, 1)], [(16, 32, 4, 1)]),
}
# What tuning tries on sm_90 alone, where they do not spill.
HOPPER: dict[tuple[str, int, bool], tuple[list[Tile], list[Tile]]] = {
    ("forward", 32, True): ([(1, 128, 128, 8, 2)], []),
    ("query_backward", 32, True): ([(128, 128, 8, 2)], []),
    ("key_backward", 32, True): ([(64, 128, 8, 2)], []),
    ("key_backward", 64, True): ([(64, 128, 8, 1)], []),
    ("bias_backward", 32, True): ([(64, 64, 4, 2), (128, 64, 8, 2)], []),
}
DIMS = (8, 16, 32, 64)
# Over how many programs the gradient of the bias is spread at least: rows are divided where it has fewer tiles, each
# share with a partial sum in memory. Two on each of an H100's 132 multiprocessors.
PROGRAMS = 264
# Keys that attention_mask_fill takes at once; no tile has more.
MASK_BLOCK = 128
# Tiles of attention_backward_gate.
GATE = [{"rows": rows, "block_m": 64, "num_warps": 4, "num_stages": 1} for rows in (16, 4)]


def kernel_name(step: str, dim: int, biased: bool) -> str:
    """Return the name under which the launch parameters of one step and head dim are kept."""
    return f"attention_{step}_d{dim}{'_bias' if biased else ''}"


def tile_of(step: str, packed: Tensor, heads: int, bias: Tensor | None) -> tuple[dict[str, Any], Parameters]:
    """Return the constants of one step's kernel, and what remains of its launch parameters."""
    dim = packed.shape[-1] // (4 * heads)
    name = kernel_name(step, dim, bias is not None)
    options = dict(launch_parameters(name, packed.dtype, size_class(packed.shape[2]), packed.device))
    constants = tile_constants(dim, options, float32_precision(packed.dtype))
    return constants, {key: value for key, value in options.items() if key.upper() not in constants}


def tile_constants(dim: int, options: Parameters, precision: str) -> dict[str, Any]:
    """Return the constants of a kernel for one head dim, launch parameters and precision of float32 products."""
    shape = {key.upper(): options[key] for key in FIELDS[:3] if key in options}
    stages = options["num_stages"]
    return {"DIM": dim, "WIDTH": padded_width(dim), **shape, "STAGES": stages, "PRECISION": precision}


def parameters(step: str, tile: Tile) -> Parameters:
    """Return a tile as launch parameters."""
    found = dict(zip(FIELDS[-len(tile) :], tile, strict=True))
    return {**found, "programs": PROGRAMS} if step == "bias_backward" else found


def _declare(step: str, width: int, biased: bool) -> None:
    """Name a step's kernels with their launch parameters, one for each head dim of a width."""
    half, single = TILES[step, width, biased]
    more, more_single = HOPPER.get((step, width, biased), ([], []))
    found = [parameters(step, tile) for tile in dict.fromkeys([*half, *more, *single, *more_single])]
    by_dtype = {torch.float32: parameters(step, single[0])}
    for dim in DIMS:
        if padded_width(dim) == width:
            declare(kernel_name(step, dim, biased), parameters(step, half[0]), by_dtype, candidates=found)


declare("attention_gate_backward", GATE[0], candidates=GATE)
for _case in TILES:
    _declare(*_case)
