"""JAX's random number generator, so that a seed gives the same features as in AlphaFold-Multimer.

It is Threefry-2x32-20 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), used as JAX uses it with
`jax_threefry_partitionable`, its default since version 0.5. Keys are arrays [..., 2] of uint32.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


def threefry(key: Words, high: Words | np.uint32, low: Words | np.uint32) -> tuple[Words, Words]:
    """Encrypt the counter (high, low) with a key; shapes are broadcast against that of the key's first axes."""
    schedule = key[..., 0], key[..., 1], key[..., 0] ^ key[..., 1] ^ PARITY
    with np.errstate(over="ignore"):
        x, y = high + schedule[0], low + schedule[1]
        for group in range(5):
            for rotation in ROTATIONS[group % 2]:
                x = x + y
                y = (y << np.uint32(rotation) | y >> np.uint32(32 - rotation)) ^ x
            x = x + schedule[(group + 1) % 3]
            y = y + (schedule[(group + 2) % 3] + np.uint32(group + 1))
    return x, y


def key_of_seed(seed: int) -> Words:
    """The key of a seed, of which JAX takes the lower 32 bits (jax.random.PRNGKey)."""
    return np.array([0, seed & 0xFFFFFFFF], np.uint32)


def split(key: Words, count: int = 2) -> list[Words]:
    """New keys (jax.random.split)."""
    return list(fold_in(key, np.arange(count)))


def fold_in(key: Words, numbers: NDArray[np.int64]) -> Words:
    """A new key for each number (jax.random.fold_in), [..., 2]; keys [..., 2] and numbers [...] are broadcast."""
    return np.stack(threefry(key, np.uint32(0), numbers.astype(np.uint32)), axis=-1)


def uniform(key: Words) -> NDArray[np.float32]:
    """A number in [0, 1) for each key, with 23 random bits (jax.random.uniform of shape ())."""
    high, low = threefry(key, np.uint32(0), np.uint32(0))
    return ((high ^ low) >> np.uint32(9) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
