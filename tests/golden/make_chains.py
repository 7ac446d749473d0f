"""Copy a few chains from a shard: `python -m tests.golden.make_chains SHARD OUT COUNT SHORTEST LONGEST`.

SHARD comes from examples/training. Chains have SHORTEST to LONGEST residues, are from different clusters, and evenly
spread over it.
"""

import sys
from pathlib import Path

import numpy as np

from foldcli.data.training.shards import PackedChain, Shard, write_shard


def make_chains(source: Path, out: Path, count: int, shortest: int, longest: int) -> None:
    shard = Shard(source)
    fitting = np.flatnonzero((shard.arrays["lengths"] >= shortest) & (shard.arrays["lengths"] <= longest))
    chosen = fitting[np.linspace(0, len(fitting) - 1, count).astype(int)].tolist()
    write_shard(out, [_packed(shard, index) for index in chosen], [shard.entries()[k].cluster for k in chosen])


def _packed(shard: Shard, index: int) -> PackedChain:
    part = slice(shard.ends[index] - shard.arrays["lengths"][index], shard.ends[index])
    sequence = shard.arrays["sequence"][part].tobytes().decode()
    return PackedChain(
        str(shard.arrays["names"][index]), sequence, shard.arrays["backbone"][part], shard.arrays["profile"][part]
    )


if __name__ == "__main__":
    make_chains(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
