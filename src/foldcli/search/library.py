"""The library of known structures: sequences to search, and backbones that become templates.

A library is one compressed .npz file:

| array | shape, type | meaning |
| --- | --- | --- |
| names | [n] str | PDB id and chain |
| cluster | [n] int32 | sequence cluster |
| lengths | [n] int32 | residues of each chain; the arrays below hold the chains one after another |
| sequence | [r] S1 | one-letter residue types |
| steps | [3, r + n] int8 | CA-CA steps, one more than residues in each chain (see `traces`) |
| turns | [r + n] uint8 | rotation of each step's peptide plane |
"""

import io
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np

from foldcli.data.chain import Template
from foldcli.data.formats.mapped_npz import open_arrays
from foldcli.data.formats.packed_atoms import ANGSTROM, unpack_atoms
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.files import write_atomic
from foldcli.protein.residues import residue_types
from foldcli.search.chains import KnownChain
from foldcli.search.hits import Hit, Sequences
from foldcli.search.templates import FoundTemplate, FoundTemplates, choose_hits, search, template_from_hit
from foldcli.search.traces import Trace, decode, encode
from foldcli.weights.files import sha256

ARRAYS = ("names", "cluster", "lengths", "sequence", "steps", "turns")


class Library:
    """An opened library; InputError if the file is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays = open_arrays(path)
        if missing := [name for name in ARRAYS if name not in self._arrays]:
            raise InputError(f"{path}: has no array '{missing[0]}'; make a library with `foldcli data library`")
        self._ends = np.cumsum(self._arrays["lengths"], dtype=np.int64)
        self._number = {name: k for k, name in enumerate(self._arrays["names"].tolist())}

    @cached_property
    def sequences(self) -> Sequences:
        letters = self._arrays["sequence"].tobytes().decode("ascii")
        starts = np.append(0, self._ends[:-1])
        return Sequences({name: letters[a:b] for name, a, b in zip(self._number, starts, self._ends, strict=True)})

    def __contains__(self, name: str) -> bool:
        return name in self._number

    def digest(self, query: Query) -> str:
        """A fingerprint of the library."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return sha256(self.path)

    def find(self, query: Query) -> FoundTemplates:
        """Templates for a query."""
        hits = choose_hits(search(self.sequences, query), len(query.sequence))
        return FoundTemplates([FoundTemplate(hit, self.template(hit, len(query.sequence))) for hit in hits])

    def template(self, hit: Hit, length: int) -> Template:
        """The template of a hit for a query of `length` residues."""
        sequence = self.sequences.letters[hit.name]
        backbone = np.rint(decode(self._trace(hit.name)) * ANGSTROM).astype(np.int16)
        return template_from_hit(hit, length, residue_types(sequence), *unpack_atoms(sequence, backbone, None))

    def _trace(self, name: str) -> Trace:
        number = self._number[name]
        end = int(self._ends[number]) + number + 1
        span = slice(end - int(self._arrays["lengths"][number]) - 1, end)
        return Trace(self._arrays["steps"][:, span], self._arrays["turns"][span])


def bundled() -> Path:
    """Path of the library that comes with the package."""
    return Path(str(files("foldcli.search").joinpath("library.npz")))


def write_library(path: Path, chains: Sequence[KnownChain], excluded: Collection[str], max_bytes: int) -> int:
    """Write as many chains as fit into `max_bytes`, first one of each cluster, then more; return how many.

    Chains with gaps are left out. InputError: no chain fits.
    """
    traced = [(chain, encode(chain.backbone / ANGSTROM)) for chain in _by_cluster(chains) if chain.name not in excluded]
    whole = [(chain, trace) for chain, trace in traced if trace is not None]
    while whole:
        data = _packed([chain for chain, _ in whole], [trace for _, trace in whole])
        if len(data) <= max_bytes:
            write_atomic(path, data)
            return len(whole)
        whole = whole[: min(int(len(whole) * max_bytes / len(data)), len(whole) - 1)]
    raise InputError(f"{path}: no chain fits; allow a larger file, or name chains without gaps")


def _by_cluster(chains: Sequence[KnownChain]) -> list[KnownChain]:
    """Order chains: the first chain of every cluster, then the second of every cluster, and so on."""
    seen: Counter[int] = Counter()
    ranks = []
    for chain in chains:
        ranks.append(seen[chain.cluster])
        seen[chain.cluster] += 1
    return [chains[k] for k in np.argsort(ranks, kind="stable")]


def _packed(chains: Sequence[KnownChain], traces: Sequence[Trace]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        names=np.array([chain.name for chain in chains]),
        cluster=np.array([chain.cluster for chain in chains], np.int32),
        lengths=np.array([len(chain.sequence) for chain in chains], np.int32),
        sequence=np.frombuffer("".join(chain.sequence for chain in chains).encode(), "S1"),
        steps=np.concatenate([trace.steps for trace in traces], axis=1),
        turns=np.concatenate([trace.turns for trace in traces]),
    )
    return file.getvalue()
