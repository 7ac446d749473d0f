"""Tiles of the kernels for layer norm and projections."""

import torch
import triton

from foldcli_kernels.matmul import padded_width
from foldcli_kernels.tuning import Parameters, declare

WIDTHS = (64, 128, 256, 384)  # compiled ahead of time; others are taken as well


def _forward(block_m: int, block_n: int, block_k: int, num_warps: int, num_stages: int) -> Parameters:
    """Return parameters; block_k: channels taken at once, where it is their width rows stay on chip whole."""
    tile = {"block_m": block_m, "block_n": block_n, "block_k": block_k}
    return tile | {"num_warps": num_warps, "num_stages": num_stages}


def _backward(block_m: int, block_n: int, num_warps: int, num_stages: int) -> Parameters:
    return {"block_m": block_m, "block_n": block_n, "num_warps": num_warps, "num_stages": num_stages}


# By the width rounded up to a power of two: the default in half precision, and what tuning tries besides.
FORWARD = {
    64: (_forward(128, 64, 64, 8, 3), [_forward(128, 128, 64, 8, 3)]),
    128: (_forward(128, 64, 128, 8, 3), [_forward(64, 64, 128, 4, 3), _forward(128, 128, 128, 8, 2)]),
    256: (_forward(128, 64, 256, 8, 2), [_forward(64, 64, 256, 8, 2), _forward(64, 64, 256, 4, 2)]),
    512: (_forward(64, 64, 64, 4, 2), []),
}
# Where an update is added first, and rows are held whole in any precision; block_u: its channels taken at once.
ADDED = {width: _forward(rows, 64, width, 8, 2) | {"block_u": 32} for width, rows in ((64, 128), (128, 128), (256, 64))}
FORWARD_FLOAT32 = _forward(64, 32, 32, 4, 2)
# By the width rounded up to a power of two: the default in half precision, that in float32, and what tuning tries.
INPUT = {
    64: (_backward(128, 64, 8, 3), _backward(64, 32, 4, 2), [_backward(64, 64, 4, 3)]),
    128: (_backward(128, 64, 8, 3), _backward(64, 16, 8, 2), [_backward(64, 64, 4, 3)]),
    256: (_backward(64, 64, 8, 3), _backward(32, 16, 8, 1), [_backward(64, 32, 8, 3)]),
    512: (_backward(32, 32, 8, 2), _backward(16, 16, 8, 2), []),
}
WEIGHTS = {
    64: (_backward(64, 128, 4, 2), _backward(32, 64, 4, 2), [_backward(128, 64, 4, 2)]),
    128: (_backward(64, 128, 8, 2), _backward(32, 32, 4, 1), [_backward(64, 64, 4, 2)]),
    256: (_backward(64, 64, 8, 2), _backward(16, 32, 8, 1), [_backward(32, 128, 8, 2)]),
    512: (_backward(32, 64, 8, 1), _backward(16, 16, 8, 1), []),
}
# Weights of few columns, such as heads' biases of pairs: at 128 channels the tile above spills on sm_90.
NARROW_WEIGHTS = {
    64: (_backward(64, 16, 4, 2), _backward(32, 16, 4, 2), [_backward(32, 16, 4, 2)]),
    128: (_backward(32, 16, 8, 2), _backward(32, 16, 4, 1), [_backward(64, 16, 4, 2), _backward(128, 16, 8, 2)]),
    256: (_backward(64, 16, 8, 2), _backward(16, 16, 8, 1), [_backward(32, 16, 8, 2)]),
    512: (_backward(32, 16, 8, 1), _backward(16, 16, 8, 1), []),
}
# Programs that share the rows of one weight's gradient: two for each multiprocessor of an H100.
PROGRAMS = 264
for _width, (_half, _more) in FORWARD.items():
    declare(f"norm_linear_forward_c{_width}", _half, {torch.float32: FORWARD_FLOAT32}, [_half, *_more])
for _width, _half in ADDED.items():
    declare(f"norm_linear_added_c{_width}", _half)
for _step, _table in (("input", INPUT), ("weights", WEIGHTS), ("narrow_weights", NARROW_WEIGHTS)):
    for _width, (_half, _single, _more) in _table.items():
        declare(f"norm_linear_{_step}_c{_width}", _half, {torch.float32: _single}, [_half, *_more])


def width_class(width: int) -> int:
    """Return under which width in the tables the launch parameters of such rows stand."""
    return max(64, triton.next_power_of_2(width))


def column_block(width: int, block: int) -> int:
    """Return the columns of one tile: no more than there are, no fewer than a matrix instruction takes."""
    return min(block, padded_width(width))
