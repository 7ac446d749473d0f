"""Read what a search needs of chain shards: names, clusters, sequences and backbones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.training.shards import Shard
from foldcli.errors import InputError


@dataclass(frozen=True)
class KnownChain:
    """A chain of known structure; backbone [i, 3, 3]: N, CA and C as in `data.formats.packed_atoms`."""

    name: str
    cluster: int
    sequence: str
    backbone: NDArray[np.int16]


def read_chains(paths: Sequence[Path]) -> list[KnownChain]:
    """Read the chains of all shards, in order; InputError: a file that is no shard, or a name that comes twice."""
    known: dict[str, KnownChain] = {}
    for path in paths:
        shard = Shard(path)
        letters, backbones = (np.split(shard.arrays[name], shard.ends[:-1]) for name in ("sequence", "backbone"))
        for entry, sequence, backbone in zip(shard.entries(len(known)), letters, backbones, strict=True):
            if entry.name in known:
                raise InputError(f"{path}: chain {entry.name} comes twice in what was named; name each file once")
            known[entry.name] = KnownChain(entry.name, entry.cluster, sequence.tobytes().decode("latin-1"), backbone)
    return list(known.values())
