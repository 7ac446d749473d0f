"""Tiles of the dropout kernel."""

from torch import Tensor

from foldcli_kernels.tuning import Parameters, declare, launch_parameters, size_class

# block_m: numbers of a mask; block_s: positions that share them at once; steps: how often, one after the other.
CANDIDATES: list[Parameters] = [
    {"block_m": m, "block_s": s, "steps": 16, "num_warps": 4, "num_stages": 1}
    for m, s in [(512, 4), (128, 16), (1024, 2)]
]
declare("dropout_add", CANDIDATES[0], candidates=CANDIDATES)


def tile_of(update: Tensor, length: int) -> tuple[list[int], Parameters]:
    """Return block_m, block_s and steps for an axis of `length`, and what remains of the launch parameters."""
    options = dict(launch_parameters("dropout_add", update.dtype, size_class(max(length, 1)), update.device))
    return [options.pop(key) for key in ("block_m", "block_s", "steps")], options
