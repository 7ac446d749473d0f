"""Tiles that the attention kernels ship with, by step, head dim and precision, and the kernels compiled with them."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import triton
from torch import Tensor

from foldcli_kernels.launch import Parameters, declare, launch_parameters, size_class
from foldcli_kernels.specimen import POINTER, Specimen

# Rows that share a tile of the bias, queries, keys, warps, stages: first what works everywhere, then what tuning tries
# besides, in half precision and in float32. Larger tiles spill on sm_80.
Tile = tuple[int, int, int, int, int]
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
# Only for tuning on sm_90, where they do not spill.
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
# Programs among which the rows are shared for the gradient of the bias, each with its sums in memory: two on each of
# an H100's 132 multiprocessors.
PROGRAMS = 264


def kernel_name(step: str, dim: int, biased: bool) -> str:
    """Return the name under which launch parameters of one step and shape are kept."""
    return f"attention_{step}_d{dim}{'_bias' if biased else ''}"


def padded_dim(dim: int) -> int:
    """Return the width of a tile of this head dim: matrix instructions take at least 16."""
    return max(16, triton.next_power_of_2(dim))


def precision(dtype: torch.dtype) -> str:
    """Return how tensor cores multiply this type: float32 in three products of its parts, unless torch permits one."""
    if dtype != torch.float32:
        return "ieee"  # says nothing of half precision
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def tile_of(step: str, packed: Tensor, heads: int, bias: Tensor | None) -> tuple[dict[str, Any], Parameters]:
    """Return the constants of one step's kernel, and what remains of its launch parameters."""
    dim = packed.shape[-1] // (4 * heads)
    name = kernel_name(step, dim, bias is not None)
    options = dict(launch_parameters(name, packed.dtype, size_class(packed.shape[2]), packed.device))
    rows, block_m, block_n = (options.pop(key) for key in ("rows", "block_m", "block_n"))
    return _constants(dim, rows, block_m, block_n, precision(packed.dtype)), options


def _constants(dim: int, rows: int, block_m: int, block_n: int, products: str) -> dict[str, Any]:
    shape = {"DIM": dim, "WIDTH": padded_dim(dim), "ROWS": rows, "BLOCK_M": block_m, "BLOCK_N": block_n}
    return {**shape, "PRECISION": products}


def declare_step(step: str) -> None:
    """Name a step's kernels with their launch parameters, one for each head dim with and without a bias."""
    for dim in DIMS:
        for biased in (True, False):
            half, single = TILES[step, padded_dim(dim), biased]
            more, more_single = HOPPER.get((step, padded_dim(dim), biased), ([], []))
            own, own_single = _parameters(step, half[0]), _parameters(step, single[0])
            found = [_parameters(step, tile) for tile in dict.fromkeys([*half, *more, *single, *more_single])]
            declare(kernel_name(step, dim, biased), own, {torch.float32: own_single}, candidates=found)


def _parameters(step: str, tile: Tile) -> Parameters:
    found = dict(zip(("rows", "block_m", "block_n", "num_warps", "num_stages"), tile, strict=True))
    return {**found, "programs": PROGRAMS} if step == "query_backward" else found


def step_specimens(step: str, kernel: Any, held: frozenset[str], optional: tuple[str, ...]) -> Iterator[Specimen]:
    """Describe every configuration of a step; held: pointers to the operands' type; optional: those of the bias."""
    for (named, width, biased), tiles in TILES.items():
        more = HOPPER.get((named, width, biased), ([], []))
        for dtype, dim in itertools.product(POINTER, [dim for dim in DIMS if padded_dim(dim) == width]):
            single = dtype == torch.float32
            everywhere, shipped = tiles[single], tiles[single] + more[single]
            for tile, products in itertools.product(shipped, ("tf32x3", "tf32") if single else ("ieee",)):
                if named == step:
                    constants = _constants(dim, *tile[:3], products) | dict.fromkeys(() if biased else optional)
                    capabilities = (80, 90) if tile in everywhere else (90,)
                    yield _specimen(step, kernel, dtype, held, constants, tile, capabilities)


def _specimen(
    step: str, kernel: Any, dtype: torch.dtype, held: frozenset[str], constants: dict[str, Any], tile: Tile,
    capabilities: tuple[int, ...],
) -> Specimen:  # fmt: skip
    names = [name for name in kernel.arg_names if name not in constants]
    counts = ("heads", "groups", "length", "pitch", "shares", "per_share")
    signature = {name: "i32" if name in counts else "i64" if name[-2] == "_" else "*fp32" for name in names}
    signature |= {name: POINTER[dtype] for name in names if name in held}
    divisible = [name for name, kind in signature.items() if kind[0] == "*" or name == "pitch"]
    divisible += [name for name, kind in signature.items() if kind == "i64" and not name.startswith("mask")]
    words = [f"attention_{step}", str(dtype)[6:], f"d{constants['DIM']}", "plain" if "bias" in constants else "bias"]
    return Specimen(
        " ".join([*words, constants["PRECISION"], "x".join(map(str, tile))]), kernel, signature, constants,
        num_warps=tile[3], num_stages=tile[4], needs_wgmma=dtype != torch.float32, capabilities=capabilities,
        divisible=tuple(divisible),
    )  # fmt: skip
