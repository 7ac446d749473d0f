"""Tiles of the outer product's kernel."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.matmul import NARROWEST, padded_width
from foldcli_kernels.tuning import declare, launch_parameters, size_class

# tile_i, tile_j: pairs of a program; block_c: channels of the left factor at once; block_s: sequences at once.
NAMES = ("tile_i", "tile_j", "block_c", "block_s", "num_warps", "num_stages")


def _options(*tiles: tuple[int, ...]) -> list[dict[str, int]]:
    return [dict(zip(NAMES, tile, strict=True)) for tile in tiles]


# By widths of the factors and of the pairs. A tile of 8 x 8 pairs does 262,144 FLOPs a pair on 256 KB of weights from
# the L2 cache; wider ones do not fit in registers beside what is summed over sequences. Of one group of channels of the
# left factor a tile reads 16 bytes a column and sequence, or 32 with the last option, which only Hopper has memory for.
OPTIONS = {
    (32, 128): _options((8, 8, 8, 32, 8, 3), (16, 8, 4, 32, 8, 3), (8, 8, 16, 32, 8, 2)),
    (8, 32): _options((8, 8, 8, 32, 4, 3), (8, 16, 8, 32, 8, 3)),
}
HOPPER = OPTIONS[32, 128][-1]
FLOAT32 = {(32, 128): _options((4, 4, 4, 16, 4, 2))[0], (8, 32): _options((4, 4, 8, 16, 4, 2))[0]}
for _widths, _half in OPTIONS.items():
    declare(f"outer_product_{_widths[0]}", _half[0], by_dtype={torch.float32: FLOAT32[_widths]}, candidates=_half)


def tile_of(left: Tensor, length: int, widths: tuple[int, int, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the kernel's constants, and what remains of its launch parameters; widths: c, e and f."""
    c, e, width = widths
    name = "outer_product_8" if max(c, e) <= 8 else "outer_product_32"
    options = dict(launch_parameters(name, left.dtype, size_class(length), left.device))
    block_e = max(triton.next_power_of_2(e), NARROWEST // options["tile_j"])
    constants = {"C": c, "E": e, "WIDTH": width, "BLOCK_E": block_e, "BLOCK_F": padded_width(width)}
    return constants | {key.upper(): options.pop(key) for key in NAMES[:4]}, options
