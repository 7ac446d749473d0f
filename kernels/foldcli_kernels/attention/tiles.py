"""Tiles of the attention kernels, by step, head dim and precision."""

from typing import Any

import torch
from torch import Tensor

from foldcli_kernels.matmul import float32_precision, padded_width
from foldcli_kernels.tuning import Parameters, declare, launch_parameters, size_class

# Rows that share a tile of the bias, queries, keys, warps, stages.
Tile = tuple[int, int, int, int, int]
# (step, padded head dim, with a bias) -> tiles in half precision, tiles in float32. All are compiled for sm_80 and
# sm_90; the first of each is the default, the others are what tuning tries besides. Larger ones spill on sm_80. The
# steps: key_backward is the kernel attention_backward_dkv, query_backward is attention_backward_dq.
TILES: dict[tuple[str, int, bool], tuple[list[Tile], list[Tile]]] = {
    ("forward", 16, True): ([(2, 64, 64, 4, 2), (2, 64, 64, 4, 3), (1, 128, 64, 8, 3)], [(1, 64, 32, 4, 2)]),
    ("forward", 16, False): ([(1, 128, 64, 4, 3), (1, 128, 64, 8, 3)], [(1, 64, 32, 4, 2)]),
    ("forward", 32, True): ([(2, 64, 64, 4, 2), (2, 64, 64, 4, 3), (1, 128, 64, 8, 3)], [(1, 64, 32, 4, 2)]),
    ("forward", 32, False): ([(1, 128, 64, 4, 3), (1, 128, 64, 8, 3)], [(1, 64, 32, 4, 2)]),
    ("forward", 64, True): ([(1, 128, 64, 8, 3), (2, 64, 32, 4, 3)], [(1, 32, 32, 4, 2)]),
    ("forward", 64, False): ([(1, 128, 64, 8, 3), (1, 64, 64, 4, 3)], [(1, 32, 32, 4, 2)]),
    ("key_backward", 16, True): ([(2, 64, 64, 4, 2), (1, 64, 64, 4, 3)], [(1, 32, 64, 4, 2)]),
    ("key_backward", 16, False): ([(1, 64, 128, 8, 2), (1, 64, 64, 4, 3)], [(1, 32, 64, 4, 2)]),
    ("key_backward", 32, True): ([(2, 32, 64, 4, 2), (1, 64, 64, 4, 3)], [(1, 16, 64, 4, 1)]),
    ("key_backward", 32, False): ([(1, 64, 128, 8, 2), (1, 64, 64, 4, 3)], [(1, 16, 64, 4, 1)]),
    ("key_backward", 64, True): ([(1, 32, 64, 4, 2)], [(1, 16, 32, 4, 1)]),
    ("key_backward", 64, False): ([(1, 64, 128, 8, 2), (1, 32, 64, 4, 2)], [(1, 16, 32, 4, 1)]),
    ("query_backward", 16, True): ([(2, 64, 32, 4, 3), (2, 64, 32, 4, 2)], [(1, 64, 32, 4, 2)]),
    ("query_backward", 16, False): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 3)], [(1, 64, 32, 4, 2)]),
    ("query_backward", 32, True): ([(2, 64, 32, 4, 2), (1, 64, 32, 4, 2)], [(1, 64, 16, 4, 1)]),
    ("query_backward", 32, False): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 3)], [(1, 64, 32, 4, 2)]),
    ("query_backward", 64, True): ([(1, 64, 32, 4, 2), (1, 64, 16, 4, 2)], [(1, 32, 16, 4, 1)]),
    ("query_backward", 64, False): ([(1, 128, 64, 8, 2), (1, 64, 64, 4, 3)], [(1, 32, 16, 4, 1)]),
}
# What tuning tries on sm_90 alone, where they do not spill.
HOPPER: dict[tuple[str, int, bool], tuple[list[Tile], list[Tile]]] = {
    ("forward", 64, True): ([(2, 64, 64, 4, 2)], [(1, 64, 32, 4, 2)]),
    ("forward", 64, False): ([], [(1, 64, 32, 4, 2)]),
    ("key_backward", 32, True): ([(2, 64, 64, 4, 2)], [(1, 32, 64, 4, 2)]),
    ("key_backward", 32, False): ([], [(1, 32, 64, 4, 2)]),
    ("key_backward", 64, True): ([(1, 64, 64, 4, 2), (1, 64, 128, 8, 2)], []),
    ("key_backward", 64, False): ([(1, 64, 64, 4, 3)], []),
    ("query_backward", 32, True): ([(2, 64, 32, 4, 3), (1, 64, 64, 4, 2)], [(1, 64, 32, 4, 2)]),
}
DIMS = (8, 16, 32, 64)
# How many programs split the rows for the gradient of the bias; each keeps a partial sum in memory. Two on each of an
# H100's 132 multiprocessors.
PROGRAMS = 264
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
    rows, block_m, block_n = (options.pop(key) for key in ("rows", "block_m", "block_n"))
    return tile_constants(dim, rows, block_m, block_n, float32_precision(packed.dtype)), options


def tile_constants(dim: int, rows: int, block_m: int, block_n: int, precision: str) -> dict[str, Any]:
    """Return the constants of a kernel for one head dim, tile and precision of float32 products."""
    shape = {"DIM": dim, "WIDTH": padded_width(dim), "ROWS": rows, "BLOCK_M": block_m, "BLOCK_N": block_n}
    return {**shape, "PRECISION": precision}


def _declare_step(step: str) -> None:
    """Name a step's kernels with their launch parameters, one for each head dim with and without a bias."""
    for dim in DIMS:
        for biased in (True, False):
            half, single = TILES[step, padded_width(dim), biased]
            more, more_single = HOPPER.get((step, padded_width(dim), biased), ([], []))
            own, own_single = _parameters(step, half[0]), _parameters(step, single[0])
            found = [_parameters(step, tile) for tile in dict.fromkeys([*half, *more, *single, *more_single])]
            declare(kernel_name(step, dim, biased), own, {torch.float32: own_single}, candidates=found)


def _parameters(step: str, tile: Tile) -> Parameters:
    found = dict(zip(("rows", "block_m", "block_n", "num_warps", "num_stages"), tile, strict=True))
    return {**found, "programs": PROGRAMS} if step == "query_backward" else found


declare("attention_gate_backward", GATE[0], candidates=GATE)
for _step in ("forward", "key_backward", "query_backward"):
    _declare_step(_step)
