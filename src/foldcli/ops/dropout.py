"""Dropout whose mask is shared along one axis (Suppl. 1.11.6), from a counter, so that all devices draw the same."""

import math

import torch

from foldcli.ops.dispatch import dispatched
from foldcli.shapes import Float, Int, Tensor

# Philox-4x32-10: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
WORD = 0xFFFFFFFF
# The upper 24 bits of a random word decide whether a number is kept: exact in float32 too.
BITS = 24


def _unsupported(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int, training: bool = True) -> str:
    if x.shape != update.shape:
        return f"shapes {tuple(x.shape)} and {tuple(update.shape)} differ"
    return "the channels share the mask" if shared in (-1, x.dim() - 1) else ""


@dispatched("foldcli_kernels.dropout:dropout_add", _unsupported)
def dropout_add(
    x: Float[Tensor, "*b c"],
    update: Float[Tensor, "*b c"],
    seed: Int[Tensor, ""],
    rate: float,
    shared: int,
    training: bool = True,
) -> Float[Tensor, "*b c"]:
    """Add an update with dropout: a share `rate` is zero, the rest scaled by 1 / (1 - rate), alike along axis `shared`.

    seed: one integer on the device of x; drawn by torch's generator, it follows checkpointing and CUDA graphs. The
    mask depends on the seed and the shape alone; it is drawn for the shape in which `shared` has length 1.
    """
    if not training or rate == 0:
        return x + update
    shape = list(update.shape)
    shape[shared] = 1
    keep = kept(seed, math.prod(shape), rate).view(shape)
    return x + torch.where(keep, update / (1 - rate), 0.0)


def kept(seed: Int[Tensor, ""], count: int, rate: float) -> Tensor:
    """Say which of `count` numbers are kept: where Philox at counter 0, 1, ... with key `seed` is not below `rate`."""
    words = philox(seed, torch.arange(count, dtype=torch.int64, device=seed.device))
    return words >> (32 - BITS) >= round(rate * 2**BITS)


def philox(seed: Int[Tensor, ""], counter: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return the first of the four words at each 64-bit counter, with a 64-bit key; equals triton.language.randint."""
    seed = seed.to(torch.int64)
    keys = [seed & WORD, seed >> 32 & WORD]
    words = [counter & WORD, counter >> 32 & WORD, torch.zeros_like(counter), torch.zeros_like(counter)]
    for _ in range(ROUNDS):
        high0, low0 = _product(words[0], MULTIPLIERS[0])
        high2, low2 = _product(words[2], MULTIPLIERS[1])
        words = [high2 ^ words[1] ^ keys[0], low2, high0 ^ words[3] ^ keys[1], low0]
        keys = [(key + step) & WORD for key, step in zip(keys, WEYL, strict=True)]
    return words[0]


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the upper and lower 32 bits of a product of 32-bit words, computed in halves, since int64 is signed."""
    low = word * (factor & 0xFFFF)
    high = word * (factor >> 16) + (low >> 16)
    return high >> 16, (high & 0xFFFF) << 16 | low & 0xFFFF
