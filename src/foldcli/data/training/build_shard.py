"""Build a chain shard from a folder of structure files, with or without alignments."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.formats.searches import alignment_files, join_alignments
from foldcli.data.formats.structure_files import STRUCTURE_SUFFIXES, read_structure, structure_files
from foldcli.data.query import Alignment
from foldcli.data.training.chain_clusters import cluster_chains
from foldcli.data.training.parallel_reading import FilesRead, ReadProgress, read_in_parallel
from foldcli.data.training.shards import PackedChain, pack_chain, write_shard
from foldcli.errors import InputError
from foldcli.protein.residues import GAP, LETTERS, residue_types


@dataclass(frozen=True)
class BuiltShard:
    """Number of clusters and how they were made; alone: how many chains have no alignment; files: what was read."""

    clusters: int
    how: str
    alone: int
    files: FilesRead[tuple[PackedChain, bool]]


def build_shard(
    folder: Path, out: Path, alignments: Path | None, clusters: Path | None, workers: int, progress: ReadProgress
) -> BuiltShard:
    """Write the protein chains of all files to `out`.

    InputError: no such folder; FoldcliError: no chain found, or `out` cannot be written.
    """
    if alignments and not alignments.is_dir():
        raise InputError(f"{alignments}: no such folder")
    files = structure_files(folder, STRUCTURE_SUFFIXES)
    gathered = read_in_parallel(partial(_read_chains, alignments=alignments), files, workers, progress)
    gathered.take_each_once(lambda found: found[0].name)
    chains = [chain for chain, _ in gathered.found]
    clustering = cluster_chains([chain.name for chain in chains], [chain.sequence for chain in chains], clusters)
    write_shard(out, chains, clustering.numbers)
    alone = sum(not aligned for _, aligned in gathered.found)
    return BuiltShard(len(set(clustering.numbers)), clustering.how, alone, gathered)


def _read_chains(path: Path, alignments: Path | None) -> list[tuple[PackedChain, bool]]:
    """The chains of a file, each with whether its profile comes from an alignment."""
    deposition = read_structure(path)
    found = []
    for polymer in deposition.polymers:
        if polymer.has_backbone:
            chain = deposition.chain(polymer)
            files = alignment_files(alignments, chain.name) if alignments else []
            profile = (
                weighted_profile(join_alignments(files, chain.sequence)) if files else _own_profile(chain.sequence)
            )
            found.append((pack_chain(chain, profile, deposition.released), bool(files)))
    return found


def _own_profile(sequence: str) -> NDArray[np.float32]:
    return np.eye(len(LETTERS) + 1, dtype=np.float32)[residue_types(sequence), : len(LETTERS)]


def weighted_profile(alignment: Alignment) -> NDArray[np.float32]:
    """Weighted frequencies of the 20 amino acids in each column [i, 20]; a column of gaps and X only is zero.

    A row's weight is the sum over its letters of 1 / (kinds of amino acid in the column x rows that have this one), so
    that similar rows count less (position-based weights, Henikoff & Henikoff 1994).
    """
    length = alignment.tokens.shape[1]
    kinds = len(LETTERS)
    cells = np.arange(length) * (GAP + 1) + alignment.tokens
    counts = np.bincount(cells.ravel(), minlength=length * (GAP + 1)).reshape(length, GAP + 1)
    present = np.maximum((counts[:, :kinds] > 0).sum(axis=1), 1)
    share = 1 / (present[:, None] * np.maximum(counts, 1))
    weights = (share.ravel()[cells] * (alignment.tokens < kinds)).sum(axis=1)
    sums = np.bincount(cells.ravel(), np.repeat(weights, length), minlength=length * (GAP + 1))
    letters = sums.reshape(length, GAP + 1)[:, :kinds]
    return (letters / np.maximum(letters.sum(axis=1, keepdims=True), np.finfo(float).tiny)).astype(np.float32)
