"""Launches the kernel that adds shares."""

import math
from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from foldcli_kernels.shares.kernel import shares_add
from foldcli_kernels.shares.tiles import SHARES_AT_ONCE, tile_of


def add_shares(shares: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the sums of at most five tensors [parts, ...] over their parts, one after another in a flat tensor.

    shares: dense float32; those without any elements add nothing.
    """
    sizes = [math.prod(x.shape[1:]) for x in shares]
    out = shares[0].new_empty(sum(sizes), dtype=dtype)
    known = [x for x, size in zip(shares, sizes, strict=True) if size]
    missing = SHARES_AT_ONCE - len(known)
    counts = [count for x in known for count in (x.shape[0], math.prod(x.shape[1:]))]
    tile = tile_of(max(counts[::2]))
    blocks = sum(triton.cdiv(size, tile["BLOCK"]) for size in sizes)
    with torch.cuda.device_of(out):
        shares_add[(blocks,)](
            *known, *([None] * missing), *counts, *([0] * 2 * missing), out, **tile, num_warps=4, num_stages=2
        )
    return out


def sections(flat: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return views of tensors that lie one after another in a flat tensor, and fill it."""
    parts = flat.split([math.prod(shape) for shape in shapes])
    return [part.view(*shape) for part, shape in zip(parts, shapes, strict=True)]
