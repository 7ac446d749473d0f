"""Alignments of a complex from files and folders, paired by what they say."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from foldcli.data.formats.alignment import deduplicate, read_alignment
from foldcli.data.formats.complex_a3m import informative, join_paired, read_blocks
from foldcli.data.formats.searches import ALIGNMENT_SUFFIXES, alignment_files, join_alignments, read_search
from foldcli.data.formats.text_files import list_files, list_folders
from foldcli.data.pairing import pair_by_species
from foldcli.data.query import Alignment, EntityMsa, Query
from foldcli.errors import InputError
from foldcli.protein.chain_names import ONE_LETTER, chain_name
from foldcli.protein.residues import GAP

PAIRED: Final = "paired"  # NAME_A_paired.a3m: row k belongs to row k of the other chains
UNIPROT: Final = "uniprot"  # NAME_A_uniprot.a3m, or uniprot_hits.sto of a chain's folder: paired by species
MOST_UNIPROT = 50_000  # rows, as AlphaFold takes
NOT_PAIRED: Final = (
    "no rows are paired: no species is in the alignments of two of its sequences, or their headers do not say it, as "
    "tr|A0A0K0|A0A0K0_HUMAN, OX=9606 or TaxID=9606 do"
)


@dataclass(frozen=True)
class ChainFile:
    """A file or folder with alignments of one chain; kind: PAIRED, UNIPROT, or empty for the chain's own rows."""

    path: Path
    chain: int
    kind: str


def chain_file(query: Query, path: Path) -> ChainFile | None:
    """What a file or folder is to a complex by its name, NAME_A, NAME_A_paired or NAME_A_uniprot; None if nothing.

    InputError: it is named after a chain that the complex does not have.
    """
    stem = path.name if path.is_dir() else path.stem
    if not query.chain_lengths:
        return None
    found = re.fullmatch(rf"{re.escape(query.name)}_([A-Za-z0-9]{{1,2}})(?:_({PAIRED}|{UNIPROT}))?", stem)
    if not found:
        return None
    names = [chain_name(number) for number in range(len(query.chains))]
    if found[1] in names:
        return ChainFile(path, names.index(found[1]), found[2] or "")
    if found[1] in ONE_LETTER[:26] or found[2]:
        raise InputError(f"{path}: {query.name} has no chain {found[1]}; its {len(names)} chains are A to {names[-1]}")
    return None


def chain_folders(query: Query, folder: Path) -> list[ChainFile]:
    """The folders of each chain's searches in a folder, or in `msas` in it: A, B and so on, as AlphaFold has them."""
    inside = folder / "msas" if (folder / "msas").is_dir() else folder
    names = [chain_name(number) for number in range(len(query.chains))]
    there = [found for found in list_folders(inside) if found.name in [*ONE_LETTER] and _has_searches(found)]
    if strange := [found for found in there if found.name not in names]:
        raise InputError(f"{strange[0]}: {query.name} has no chain {strange[0].name}; its last one is {names[-1]}")
    return [ChainFile(found, names.index(found.name), "") for found in there]


def _has_searches(folder: Path) -> bool:
    return bool(alignment_files(folder.parent, folder.name) or _uniprot_files(folder))


def _uniprot_files(folder: Path) -> list[Path]:
    return [file for file in list_files(folder, ALIGNMENT_SUFFIXES) if file.name.startswith(UNIPROT)]


def msas_of_file(query: Query, path: Path) -> Query:
    """The complex with the alignments of one file: ColabFold's of all its chains, or some of single chains.

    InputError: as of `read_blocks`, or the file's sequences are not the complex's.
    """
    alone, complexes = read_blocks(path)
    if found := complexes.get(frozenset(query.entities)):
        msas = tuple(found.msas[found.entities.index(one)] for one in query.entities)
        return dataclasses.replace(query, msas=msas, notes=query.notes + pairing_notes(msas))
    own = {entity: alone[entity].alignment() for entity in query.entities if entity in alone}
    if not own:
        raise InputError(f"{path}: {_other_complex(query, [*map(set, complexes), *({one} for one in alone)])}")
    return with_msas(query, own)


def _other_complex(query: Query, there: Sequence[set[str]]) -> str:
    """What is wrong with alignments, of these sequences each, none of which is the complex's."""
    where, here = f"{query.source} ({query.name})", set(query.entities)
    if len(there) == 1 and here < there[0]:
        return f"has alignments of {len(there[0])} different sequences, but {where} has {len(here)}; leave out the rest"
    for sequences in there:
        missing = [number for number, chain in enumerate(query.chains) if chain not in sequences]
        if sequences & here and missing:
            return f"is the alignment of another complex than {where}, whose chain {chain_name(missing[0])} it lacks"
    return f"none of its {len(there)} alignments is of {where} or of a chain of it"


def msas_of_chains(query: Query, files: Sequence[ChainFile]) -> Query:
    """The complex with the alignments of its chains' files.

    InputError: two files are of one sequence, a query row is not the chain's sequence, or what is said to be paired has
    not as many rows as that of the other chains.
    """
    by_kind: dict[str, dict[str, ChainFile]] = {"": {}, PAIRED: {}, UNIPROT: {}}
    for file in files:
        entity = query.chains[file.chain]
        if before := by_kind[file.kind].get(entity):
            names = " and ".join(sorted({chain_name(before.chain), chain_name(file.chain)}))
            raise InputError(
                f"{file.path}: {before.path.name} is of the same sequence, of chain {names}; keep one of them"
            )
        by_kind[file.kind][entity] = file
    own = {entity: found for entity, file in by_kind[""].items() if (found := _own_rows(query, file))}
    uniprot = {entity: file.path for entity, file in by_kind[UNIPROT].items()}
    for entity, file in by_kind[""].items():
        if file.path.is_dir() and (hits := _uniprot_files(file.path)):
            uniprot.setdefault(entity, hits[0])
    by_species = {
        entity: deduplicate(read_search(path, entity, MOST_UNIPROT)).alignment() for entity, path in uniprot.items()
    }
    return with_msas(query, own, by_species, _paired_rows(query, by_kind[PAIRED]))


def _own_rows(query: Query, file: ChainFile) -> Alignment | None:
    sequence = query.chains[file.chain]
    if file.path.is_dir():
        searches = alignment_files(file.path.parent, file.path.name)
        return join_alignments(searches, sequence) if searches else None
    return read_alignment(file.path, sequence, f"chain {chain_name(file.chain)} of {query.source}")


def _paired_rows(query: Query, files: Mapping[str, ChainFile]) -> list[Alignment]:
    """The rows that the files say are paired, of each sequence; empty where there is no such file."""
    if not files:
        return []
    if missing := [number for number, chain in enumerate(query.chains) if chain not in files]:
        first, name = next(iter(files.values())).path, f"{query.name}_{chain_name(missing[0])}_{PAIRED}"
        raise InputError(f"{first}: its rows are paired with those of {name}.a3m, which is not there")
    rows = [read_search(files[entity].path, entity) for entity in query.entities]
    depths = [len(each.letters) for each in rows]
    for entity, depth in zip(query.entities, depths, strict=True):
        if depth != depths[0]:
            raise InputError(
                f"{files[entity].path}: has {depth} rows, and {files[query.entities[0]].path.name}, whose rows they go "
                f"with one by one, {depths[0]}; rows of files named {query.name}_A_{UNIPROT} are paired by species"
            )
    return join_paired(rows)


def with_msas(
    query: Query,
    own: Mapping[str, Alignment],
    by_species: Mapping[str, Alignment] = MappingProxyType({}),
    paired: Sequence[Alignment] = (),
) -> Query:
    """The complex with alignments of its sequences, whose rows are paired; notes on chains without, and if no row is.

    by_species: those whose rows are paired by species, where they are others than `own`; paired: those that are paired
    already.
    """
    entities = query.entities
    alone = [] if paired else [entity for entity in entities if entity not in own and entity not in by_species]
    if len(entities) > 1 and not paired:
        rows = [by_species.get(entity) or own.get(entity) or Alignment.of_sequence(entity) for entity in entities]
        paired = pair_by_species(rows, [query.chains.count(entity) for entity in entities])
    unpaired = [informative(own.get(entity)) for entity in entities]
    pairs = map(informative, paired) if paired else [None] * len(entities)
    msas = tuple(EntityMsa(*found) for found in zip(unpaired, pairs, strict=True))
    notes = tuple(f"chain {chain_name(query.chains.index(one))}: no alignment, its sequence alone" for one in alone)
    return dataclasses.replace(query, msas=msas, notes=query.notes + notes + pairing_notes(msas))


def pairing_notes(msas: Sequence[EntityMsa]) -> tuple[str, ...]:
    """A line that says so if no row but the query has letters of several sequences."""
    there = [(one.paired.tokens[1:] != GAP).any(axis=1).astype(int) for one in msas if one.paired]
    return () if len(msas) < 2 or (there and (sum(there) > 1).any()) else (NOT_PAIRED,)
