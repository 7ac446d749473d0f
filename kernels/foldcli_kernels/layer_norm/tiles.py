"""Tiles of the layer norm's kernels."""

import triton

from foldcli_kernels.tuning import declare

# elements: of a tile, rows times channels.
FORWARD = [{"elements": e, "num_warps": w, "num_stages": 1} for e, w in [(2048, 4), (4096, 4), (8192, 8)]]
# programs: how many split the rows in backward, each with a row of partial sums of its own.
BACKWARD = [{"elements": e, "programs": 528, "num_warps": w, "num_stages": 1} for e, w in [(2048, 4), (4096, 8)]]
declare("layer_norm_forward", FORWARD[1], candidates=FORWARD)
declare("layer_norm_backward", BACKWARD[0], candidates=BACKWARD)


def tile(width: int, elements: int) -> dict[str, int]:
    """Return the constants of a kernel whose tile has about so many elements in rows of `width` channels."""
    block_c = triton.next_power_of_2(width)
    return {"WIDTH": width, "BLOCK_C": block_c, "BLOCK_M": max(1, elements // block_c)}
