"""TensorFlow's random number generator, so that a seed gives the same features as in AlphaFold.

It is Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter, encrypted by ten
rounds with a key. In TensorFlow the key is the graph's seed, and the upper half of the counter the operation's seed;
each run of an operation starts at the end of the counters that the run before it reserved.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85
LARGEST_SEED = 2**31 - 1
# Blocks that TensorFlow reserves for each number of a uniform draw, since some distributions reject and redraw.
RESERVED = 256


def philox(key: int, high: int, first: int, count: int) -> NDArray[np.uint32]:
    """The blocks [count, 4] at counters `first`, `first + 1`, ... under this key and upper half of the counter."""
    index = np.arange(first, first + count, dtype=np.uint64)
    upper = np.full(count, high, np.uint64)
    c0, c1, c2, c3 = index & WORD, index >> HALF, upper & WORD, upper >> HALF
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        left, right = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = (right >> HALF) ^ c1 ^ np.uint64(k0), (left >> HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = right & WORD, left & WORD
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


@dataclass(frozen=True)
class RandomOperation:
    """The `number`-th random operation of a TensorFlow graph in its `run`-th run (from 0)."""

    seed: int
    number: int
    run: int = 0

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Numbers in [0, 1) with 23 random bits each."""
        count = math.prod(shape)
        words = self._words(count, self.run * count * RESERVED)
        return ((words & 0x7FFFFF | 0x3F800000).view(np.float32) - np.float32(1)).reshape(shape)

    def thresholds(self, count: int) -> NDArray[np.float64]:
        """Numbers in [0, 1) with 52 random bits each, as TensorFlow draws them for `count` categorical samples."""
        words = self._words(2 * count, self.run * count * 8 * RESERVED).astype(np.uint64)
        bits = (words[0::2] & np.uint64(0xFFFFF)) << HALF | words[1::2]
        return (bits | np.uint64(1023) << np.uint64(52)).view(np.float64) - 1

    def permutation(self, count: int) -> NDArray[np.int64]:
        """0 to count - 1 in random order (Fisher-Yates shuffle, from the front)."""
        steps = max(count - 1, 0)
        words = self._words(steps, self.run * math.ceil(steps / 4))
        order = list(range(count))
        for i, ahead in enumerate((words % np.arange(count, count - steps, -1, dtype=np.uint32)).tolist()):
            order[i], order[i + ahead] = order[i + ahead], order[i]
        return np.array(order, np.int64)

    def _words(self, count: int, first: int) -> NDArray[np.uint32]:
        key, high = self.seed % LARGEST_SEED, self.number % LARGEST_SEED
        if (key, high) == (0, 0):  # TensorFlow reads two zeros as "no seed"
            high = LARGEST_SEED
        return philox(key, high, first, math.ceil(count / 4)).reshape(-1)[:count]
