"""Chain shards: many chains concatenated in one .npz file.

| array | shape, type | meaning |
| --- | --- | --- |
| names | [chains] str | PDB id and author's chain, 12AS_A |
| lengths | [chains] int32 | residues of each chain |
| sequence | [residues] S1 | the 20 amino acids and X |
| backbone | [residues, 3, 3] int16 | N, CA, C as in `packed_atoms` |
| profile | [residues, 20] uint8 | amino acid frequencies of the column, times 255; all zero: unknown |
| atoms, optional | [residues, 11, 3] int16 | the atoms after N, CA and C in the 14-slot layout; X as alanine |
| cluster, optional | [chains] int32 | sequence cluster, over all files of a source; else each chain is its own |
| released, resolution, optional | [chains] str, float32 | YYYY-MM-DD; angstrom, 0 where there is none |

Other arrays are ignored. foldcli writes shards without compression, so that they can be memory-mapped; a compressed one
is unpacked once, and worker processes map the copy.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.config import SourceConfig
from foldcli.data.chain import Chain
from foldcli.data.formats.mapped_npz import open_arrays, unpacked
from foldcli.data.formats.packed_atoms import pack_atoms, unpack_atoms
from foldcli.data.training.chain_source import Entry, filter_entries
from foldcli.errors import InputError
from foldcli.files import atomic_file
from foldcli.protein.residues import LETTERS_X

# Type and shape after the first axis of arrays by chain and by residue; of a type only its kind is checked.
BY_CHAIN = {"names": ("str", ()), "lengths": ("int32", ())}
BY_RESIDUE = {"sequence": ("S1", ()), "backbone": ("int16", (3, 3)), "profile": ("uint8", (20,))}
CHAIN_OPTIONS = {"cluster": ("int32", ()), "released": ("str", ()), "resolution": ("float32", ())}
RESIDUE_OPTIONS = {"atoms": ("int16", (11, 3))}

# What the recipes tiny and mini learn from is no part of the package.
OF_THE_CLONE = "it is in a clone of foldcli: run inside it, or name your own with train.shards= and validation.shards="


@dataclass(frozen=True)
class PackedChain:
    """A chain as stored in a shard; its arrays are those of the table above."""

    name: str
    sequence: str
    backbone: NDArray[np.int16]
    profile: NDArray[np.uint8]
    atoms: NDArray[np.int16] | None = None
    released: str = ""
    resolution: float = 0.0


def pack_chain(chain: Chain, profile: NDArray[np.float32], released: str = "") -> PackedChain:
    """Pack a chain with all its atoms and a profile [i, 20]; InputError if too large for 16-bit coordinates."""
    backbone, atoms = pack_atoms(chain.sequence, chain.positions, chain.mask)
    columns = np.rint(profile * 255).astype(np.uint8)
    return PackedChain(chain.name, chain.sequence, backbone, columns, atoms, released, chain.resolution)


def write_shard(path: Path, chains: Sequence[PackedChain], clusters: Sequence[int]) -> None:
    """Write chains and their cluster numbers, with side chains if all chains have them; FoldcliError if that fails."""
    arrays: dict[str, NDArray[Any]] = {
        "names": np.array([chain.name for chain in chains]),
        "lengths": np.array([len(chain.sequence) for chain in chains], np.int32),
        "cluster": np.array(clusters, np.int32),
        "released": np.array([chain.released for chain in chains], "U10"),
        "resolution": np.array([chain.resolution for chain in chains], np.float32),
        "sequence": np.array(list("".join(chain.sequence for chain in chains)), "S1"),
        "backbone": np.concatenate([chain.backbone for chain in chains]),
        "profile": np.concatenate([chain.profile for chain in chains]),
    }
    atoms = [chain.atoms for chain in chains if chain.atoms is not None]
    if len(atoms) == len(chains):
        arrays["atoms"] = np.concatenate(atoms)
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


class Shard:
    """One shard file, or its uncompressed copy; InputError names an array that is missing or of another shape."""

    def __init__(self, path: Path, copy: Path | None = None) -> None:
        self.path, self.copy = path, copy or unpacked(path)
        self.arrays = open_arrays(self.copy)
        for name in {**BY_CHAIN, **BY_RESIDUE}:
            if name not in self.arrays:
                raise InputError(f"{path}: has no array '{name}'; make it with `foldcli data chains`")
        self._check({**BY_CHAIN, **CHAIN_OPTIONS}, len(self.arrays["names"]))
        if (self.arrays["lengths"] < 1).any():
            raise InputError(f"{path}: chain {np.argmin(self.arrays['lengths']) + 1} has no residue")
        self.ends = np.cumsum(self.arrays["lengths"], dtype=np.int64)
        self._check({**BY_RESIDUE, **RESIDUE_OPTIONS}, int(self.ends[-1]) if len(self.ends) else 0)

    def _check(self, expected: dict[str, tuple[str, tuple[int, ...]]], count: int) -> None:
        for name, (dtype, tail) in expected.items():
            array, shape = self.arrays.get(name), (count, *tail)
            if array is not None and (array.dtype.kind != np.dtype(dtype).kind or array.shape != shape):
                found = f"{array.dtype} {array.shape}"
                raise InputError(f"{self.path}: '{name}' is {found}, expected {dtype} {shape}")

    def entries(self, before: int = 0) -> list[Entry]:
        """The entry of each chain; `before`: the number of chains in the files before this one."""
        lengths, count = self.arrays["lengths"], len(self.ends)
        # each chain its own cluster, with negative numbers, which no file uses
        clusters = self.arrays.get("cluster", -1 - before - np.arange(count))
        released = self.arrays.get("released", np.full(count, ""))
        resolution = self.arrays.get("resolution", np.zeros(count))
        columns = self.arrays["names"], lengths, clusters, released, resolution, self._shares()
        return [Entry(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def _shares(self) -> NDArray[np.float64]:
        """Fraction of each chain's most common residue type, counted over the 256 values of a byte."""
        owner = np.repeat(np.arange(len(self.ends)), self.arrays["lengths"])
        cells = owner * 256 + self.arrays["sequence"].view(np.uint8)
        counts = np.bincount(cells, minlength=len(self.ends) * 256).reshape(-1, 256)
        return counts.max(axis=1) / self.arrays["lengths"]

    def load(self, index: int) -> Chain:
        name, end = str(self.arrays["names"][index]), int(self.ends[index])
        part = slice(end - int(self.arrays["lengths"][index]), end)
        sequence = self.arrays["sequence"][part].tobytes().decode("latin-1")
        if odd := set(sequence) - set(LETTERS_X):
            raise InputError(f"{self.path}: chain {index + 1} ({name}) has {min(odd)!r}, which is no residue")
        atoms = self.arrays.get("atoms")
        positions, mask = unpack_atoms(sequence, self.arrays["backbone"][part], None if atoms is None else atoms[part])
        resolution = float(self.arrays["resolution"][index]) if "resolution" in self.arrays else 0.0
        return Chain(name, sequence, positions, mask, resolution, profile=_normalise(self.arrays["profile"][part]))


def _normalise(counts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalise rows to sum 1; unknown rows become uniform."""
    known = counts.any(axis=1, keepdims=True)
    frequencies = np.where(known, counts, 1).astype(np.float32)
    return frequencies / frequencies.sum(axis=1, keepdims=True)


class ShardSource:
    """The chains of all shards of a configuration (a `chain_source.ChainSource`)."""

    def __init__(self, config: SourceConfig, key: str, copies: Sequence[Path] = ()) -> None:
        self._origin = config, key
        paths = [Path(name.strip()) for name in config.shards.split(":") if name.strip()]
        if not paths:
            raise InputError(f"'{key}.shards' is empty; name the files that `foldcli data chains` wrote")
        try:
            self._shards = [Shard(path, copy) for path, copy in zip_longest(paths, copies)]
        except InputError as error:
            way_out = f"; {OF_THE_CLONE}" if config.shards.startswith("examples/") else ""
            raise InputError(f"'{key}.shards': {error}{way_out}") from None
        self._starts = np.cumsum([0, *(len(shard.ends) for shard in self._shards)]).tolist()
        started = zip(self._shards, self._starts[:-1], strict=True)
        everything = [entry for shard, start in started for entry in shard.entries(start)]
        self._taken, self.dropped = filter_entries(everything, config)
        self.entries: list[Entry] = [everything[k] for k in self._taken]

    def __reduce__(self) -> tuple[type["ShardSource"], tuple[SourceConfig, str, list[Path]]]:
        """Pickle the paths only; the other process maps the same files."""
        return ShardSource, (*self._origin, [shard.copy for shard in self._shards])

    def load(self, position: int) -> Chain:
        number = self._taken[position]
        shard = bisect_right(self._starts, number) - 1
        return self._shards[shard].load(number - self._starts[shard])
