"""Build the index of chains of a folder of mmCIF files and a folder of alignments."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from foldcli.data.formats.mmcif import MMCIF_SUFFIXES, read_mmcif
from foldcli.data.formats.searches import alignment_files
from foldcli.data.formats.structure_files import structure_files
from foldcli.data.training.chain_clusters import cluster_chains
from foldcli.data.training.chain_source import commonest_share
from foldcli.data.training.index import IndexedChain
from foldcli.data.training.parallel_reading import FilesRead, ReadProgress, read_in_parallel
from foldcli.errors import InputError


@dataclass(frozen=True)
class BuiltIndex:
    """The chains found; clusters: how they were clustered, for the user; files: how many were read and failed."""

    records: list[IndexedChain]
    clusters: str
    files: FilesRead[IndexedChain]


def build_index(
    structures: Path, alignments: Path, clusters: Path | None, workers: int, progress: ReadProgress
) -> BuiltIndex:
    """Index the chains of all mmCIF files with their alignments.

    A chain without alignments takes those of a chain of the same sequence, since collections of alignments often hold
    each sequence once. InputError: no such folder; FoldcliError: no chain found.
    """
    if not alignments.is_dir():
        raise InputError(f"{alignments}: no such folder")
    read = partial(_read_records, structures=structures)
    gathered = read_in_parallel(read, structure_files(structures, MMCIF_SUFFIXES), workers, progress)
    gathered.take_each_once(lambda record: record.name)
    records = _aligned(gathered.found, alignments)
    names, sequences = [record.name for record in records], [record.sequence for record in records]
    clustering = cluster_chains(names, sequences, clusters)
    numbered = zip(records, clustering.numbers, strict=True)
    records = [dataclasses.replace(record, cluster=number) for record, number in numbered]
    return BuiltIndex(records, clustering.how, gathered)


def _read_records(path: Path, structures: Path) -> list[IndexedChain]:
    deposition = read_mmcif(path)
    return [
        IndexedChain(
            name=f"{deposition.name}_{polymer.chain}", file=path.relative_to(structures).as_posix(),
            chain=polymer.chain, sequence=polymer.sequence, alignment="", cluster=0, released=deposition.released,
            resolution=deposition.resolution, share=commonest_share(polymer.sequence),
        )
        for polymer in deposition.polymers if polymer.has_backbone
    ]  # fmt: skip


def _aligned(records: Sequence[IndexedChain], alignments: Path) -> list[IndexedChain]:
    own = {record.name for record in records if alignment_files(alignments, record.name)}
    of_sequence = {record.sequence: record.name for record in reversed(records) if record.name in own}
    return [
        dataclasses.replace(
            record, alignment=record.name if record.name in own else of_sequence.get(record.sequence, "")
        )
        for record in records
    ]
