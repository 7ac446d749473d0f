"""Tiles of the global attention kernels, by step."""

import torch
from torch import Tensor

from foldcli_kernels.matmul import padded_width
from foldcli_kernels.tuning import declare, launch_parameters, size_class

# block_s: keys taken at once; the first of each step is the default in half precision, the others are tried in tuning.
OPTIONS = {
    "forward": [{"block_s": s, "num_warps": 4, "num_stages": 3} for s in (128, 64)],
    "backward": [{"block_s": s, "num_warps": 4, "num_stages": 3} for s in (64, 32)],
}
FLOAT32 = {"block_s": 32, "num_warps": 4, "num_stages": 2}
DIMS = (8, 16, 32, 64)
for _dim in DIMS:
    for _step, _half in OPTIONS.items():
        _name = f"global_attention_{_step}_{padded_width(_dim)}"
        declare(_name, _half[0], by_dtype={torch.float32: FLOAT32}, candidates=_half)


def tile_of(step: str, q: Tensor, keys: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return the constants of one step's kernel, and what remains of its launch parameters."""
    heads, dim = q.shape[-2:]
    constants = {"HEADS": heads, "DIM": dim, "BLOCK_H": padded_width(heads), "BLOCK_D": padded_width(dim)}
    name = f"global_attention_{step}_{constants['BLOCK_D']}"
    options = dict(launch_parameters(name, q.dtype, size_class(keys), q.device))
    return constants | {"BLOCK_S": options.pop("block_s")}, options
