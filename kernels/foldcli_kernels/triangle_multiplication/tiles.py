"""Tiles of the kernels of triangle multiplication."""

import torch
from torch import Tensor

from foldcli_kernels.matmul import padded_width
from foldcli_kernels.tuning import Parameters, declare, launch_parameters, size_class

# Channel blocks that are declared; other widths are rounded up to one of these.
WIDTHS = (16, 32, 64, 128)
# Channels of pairs and of the triangle product that are compiled: each of these, and those of the model `mini`.
SIZES = (*((width, width) for width in WIDTHS), (64, 32))


def _tiles(*tiles: tuple[int, int, int, int]) -> list[Parameters]:
    """block_p: pairs; block_n: columns of a projection."""
    return [dict(zip(("block_p", "block_n", "num_warps", "num_stages"), tile, strict=True)) for tile in tiles]


# Name of the launch parameters -> tiles in half precision, the default first, then what tuning tries; tile in float32.
TILES = {
    "triangle_operands": (_tiles((128, 64, 8, 2), (64, 64, 8, 2)), _tiles((32, 16, 4, 2))),
    # 32 columns at once spill on sm_90 where lengths are multiples of 16.
    "triangle_operands_pairs": (_tiles((64, 16, 8, 2)), _tiles((16, 16, 4, 2))),
    "triangle_operands_parameters": (_tiles((64, 64, 8, 2), (64, 32, 4, 2)), _tiles((32, 32, 8, 2))),
    "triangle_update": (_tiles((128, 64, 8, 2), (64, 64, 4, 2), (64, 32, 4, 2)), _tiles((32, 32, 8, 2))),
    "triangle_update_pairs": (_tiles((64, 32, 8, 2), (64, 32, 8, 3), (32, 32, 4, 2)), _tiles((16, 16, 4, 2))),
    # The second takes Hopper's matrix instructions, and spills on older devices, so that only tuning may choose it.
    "triangle_update_parameters": (_tiles((64, 16, 8, 2), (32, 64, 8, 2)), _tiles((32, 16, 8, 2))),
}
HOPPER = TILES["triangle_update_parameters"][0][1]
# Those of one width alone, at which some of the tiles above spill, most of them where lengths are no multiples of 16.
OF_WIDTH = {
    ("triangle_operands", 64): (_tiles((128, 64, 8, 2)), _tiles((32, 16, 4, 2))),
    ("triangle_operands_pairs", 64): (_tiles((64, 16, 8, 2)), _tiles((16, 16, 8, 2))),
    ("triangle_operands_parameters", 128): (_tiles((32, 64, 8, 2), (64, 32, 8, 2)), _tiles((32, 32, 8, 2))),
    ("triangle_update_pairs", 128): (TILES["triangle_update_pairs"][0], _tiles((32, 16, 8, 2))),
    ("triangle_update_parameters", 32): (_tiles((32, 16, 4, 2)), _tiles((32, 16, 8, 2))),
}
# Of what ends a projection's gradients: outputs at once, and channels of a program, few to keep more programs busy.
PROJECTION = {"BLOCK_N": 64, "BLOCK_C": 16}


def tiles_of(name: str, width: int) -> tuple[list[Parameters], Parameters]:
    """Return the tiles in half precision, the default first, and that in float32; width: of the wider channel block."""
    half, (single,) = OF_WIDTH.get((name, width), TILES[name])
    return half, single


for _name in TILES:
    for _width in WIDTHS:
        _half, _single = tiles_of(_name, _width)
        declare(f"{_name}_{_width}", _half[0], by_dtype={torch.float32: _single}, candidates=_half)


def tile_constants(width: int, hidden: int) -> dict[str, int]:
    """Return a kernel's constants for pairs of `width` channels and a triangle product of `hidden`."""
    return {
        "WIDTH": width, "HIDDEN": hidden, "BLOCK_C": padded_width(width), "BLOCK_H": padded_width(hidden),
    }  # fmt: skip


def launch_options(name: str, z: Tensor, constants: dict[str, int], small: str = "BLOCK_C") -> dict[str, int]:
    """Add the tile to a launch's constants and return what remains; small: the block that BLOCK_N may not exceed."""
    width = max(constants["BLOCK_C"], constants["BLOCK_H"])
    options = dict(launch_parameters(f"{name}_{width}", z.dtype, size_class(z.shape[2]), z.device))
    constants["BLOCK_N"] = min(options.pop("block_n"), constants[small])
    constants["BLOCK_P"] = options.pop("block_p")
    return options
