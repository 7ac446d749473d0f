"""Tiles of the transition's kernels."""

import torch
from torch import Tensor

from foldcli_kernels.norm_linear.tiles import width_class
from foldcli_kernels.tuning import Parameters, declare, declared, launch_parameters, size_class

# Channels and hidden channels of AlphaFold's transitions (template, extra MSA, pairs, MSA), then mini's others.
SIZES = ((64, 128), (64, 256), (128, 512), (256, 1024), (32, 64), (256, 512))


def _tile(block_m: int, block_h: int, block_k: int, num_warps: int, num_stages: int) -> Parameters:
    """Return parameters; block_m: rows; block_h: hidden channels at once; block_k: channels at once.

    Where block_k is their width, rows stay on chip whole.
    """
    tile = {"block_m": block_m, "block_h": block_h, "block_k": block_k}
    return tile | {"num_warps": num_warps, "num_stages": num_stages}


# By the width rounded up to a power of two, or by channels and hidden channels where those tiles spill on sm_90: the
# default in half precision, that in float32, and what tuning tries.
Key = int | tuple[int, int]
Table = dict[Key, tuple[Parameters, Parameters, list[Parameters]]]


def _name(step: str, key: Key) -> str:
    """Return the name of launch parameters, which tuned files know them by."""
    return f"transition_{step}_c{key}" if isinstance(key, int) else f"transition_{step}_c{key[0]}_h{key[1]}"


FORWARD: Table = {
    64: (_tile(128, 64, 64, 8, 3), _tile(64, 32, 32, 4, 2), []),
    128: (_tile(128, 64, 128, 8, 2), _tile(64, 32, 32, 8, 2), [_tile(64, 64, 128, 4, 2)]),
    256: (_tile(64, 64, 256, 8, 2), _tile(32, 32, 32, 8, 2), [_tile(64, 32, 256, 4, 2)]),
    512: (_tile(32, 32, 64, 8, 1), _tile(16, 16, 32, 8, 1), []),
}
# Where an update is added first, and rows are held whole in any precision; block_u: its channels taken at once.
ADDED = {width: _tile(rows, 64, width, 8, 2) | {"block_u": 32} for width, rows in ((64, 128), (128, 128), (256, 64))}
INPUT: Table = {
    64: (_tile(64, 64, 64, 4, 2), _tile(32, 32, 32, 4, 2), []),
    128: (_tile(128, 64, 128, 8, 2), _tile(32, 32, 32, 8, 2), [_tile(64, 64, 128, 4, 2)]),
    256: (_tile(64, 64, 256, 8, 2), _tile(32, 16, 32, 8, 1), [_tile(64, 32, 256, 8, 2)]),
    512: (_tile(32, 16, 64, 8, 1), _tile(16, 16, 32, 8, 1), []),
    (32, 64): (_tile(64, 64, 64, 4, 2), _tile(32, 16, 32, 4, 2), []),
    (256, 512): (_tile(64, 32, 256, 8, 2), _tile(32, 16, 32, 8, 1), [_tile(32, 64, 256, 8, 2)]),
}
WEIGHTS: Table = {
    64: (_tile(64, 32, 64, 4, 2), _tile(16, 32, 32, 4, 1), []),
    128: (_tile(32, 64, 128, 8, 2), _tile(16, 32, 32, 8, 1), []),
    256: (_tile(32, 64, 256, 8, 1), _tile(16, 16, 32, 8, 1), [_tile(32, 32, 256, 8, 2)]),
    512: (_tile(16, 16, 64, 8, 1), _tile(16, 16, 32, 8, 1), []),
}
for _width, _tiles in ADDED.items():
    declare(f"transition_added_c{_width}", _tiles)
for _step, _table in (("forward", FORWARD), ("input", INPUT), ("weights", WEIGHTS)):
    for _key, (_half, _single, _more) in _table.items():
        declare(_name(_step, _key), _half, {torch.float32: _single}, [_half, *_more])


def tile_of(step: str, x: Tensor, hidden: int, rows: int) -> tuple[list[int], Parameters]:
    """Return block_m, block_h and block_k of one step's kernel, and what remains of its launch parameters."""
    name = _name(step, (x.shape[-1], hidden))
    name = name if name in declared else _name(step, width_class(x.shape[-1]))
    options = dict(launch_parameters(name, x.dtype, size_class(rows), x.device))
    return [options.pop(key) for key in ("block_m", "block_h", "block_k")], options
