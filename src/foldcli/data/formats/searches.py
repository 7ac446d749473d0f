"""Alignments of one chain from several searches, as AlphaFold and OpenFold keep them: uniref90_hits.sto and others."""

from pathlib import Path

import numpy as np

from foldcli.data.formats.alignment import ParsedAlignment, deduplicate, parse_a3m, parse_stockholm, stack
from foldcli.data.formats.text_files import read_text
from foldcli.data.query import Alignment
from foldcli.errors import InputError
from foldcli.protein.residues import UNKNOWN, residue_types

ALIGNMENT_SUFFIXES = (".a3m", ".sto")
# The order in which AlphaFold joins the searches of a chain, and how many rows it takes of each (Suppl. Sec. 1.2.3).
SEARCHES = {"uniref90": 10_000, "bfd": None, "small_bfd": None, "uniref30": None, "uniclust30": None, "mgnify": 501}
# Searches for MSA pairing in complexes, and for templates.
NOT_JOINED = ("uniprot", "hmm_output", "pdb")


def alignment_files(folder: Path, name: str) -> list[Path]:
    """List a chain's alignments in the order of joining: any depth below `folder/name`, or `folder/name.a3m|.sto`."""
    inside = folder / name
    files = inside.rglob("*") if inside.is_dir() else [folder / f"{name}{suffix}" for suffix in ALIGNMENT_SUFFIXES]
    searches = [
        file for file in files
        if file.suffix in ALIGNMENT_SUFFIXES and file.is_file() and not file.name.startswith((".", *NOT_JOINED))
    ]  # fmt: skip
    return sorted(searches, key=lambda file: (_rank(file), file.name))


def is_search(file: Path) -> bool:
    """Whether a file is named after its search, as in AlphaFold's folder `msas` of one chain."""
    return file.name.startswith(tuple(SEARCHES)) and file.stem.endswith("_hits")


def _rank(file: Path) -> int:
    return next((k for k, search in enumerate(SEARCHES) if file.name.startswith(search)), len(SEARCHES))


def join_alignments(files: list[Path], sequence: str) -> Alignment:
    """Join the alignments of several searches for one chain, without duplicate rows.

    InputError names the file that cannot be read or whose query is another chain.
    """
    most = [*SEARCHES.values(), None]
    found = [read_search(file, sequence, most[_rank(file)]) for file in files]
    alignment = deduplicate(stack(found)).alignment()
    alignment.tokens[0] = residue_types(sequence)
    return alignment


def read_search(file: Path, sequence: str, most: int | None = None) -> ParsedAlignment:
    """The first rows, `most` of them, of a search for a chain; InputError as of `join_alignments`."""
    text = read_text(file)
    rows = parse_stockholm(text, file) if file.suffix == ".sto" else parse_a3m(text, file)
    _check_query(rows, sequence, file)
    return ParsedAlignment(rows.titles[:most], rows.letters[:most], rows.deletions[:most])


def _check_query(rows: ParsedAlignment, sequence: str, file: Path) -> None:
    """Require the query to be the chain's sequence; X matches anything: modified residues may be X in one of both."""
    query, chain = rows.alignment().tokens[0], residue_types(sequence)
    if len(query) != len(chain):
        raise InputError(f"{file}: its query has {len(query)} residues, the chain has {len(chain)}")
    other = np.flatnonzero((query != chain) & (query != UNKNOWN) & (chain != UNKNOWN))
    if len(other):
        place = int(other[0])
        raise InputError(
            f"{file}: its query has '{rows.query[place]}' at position {place + 1}, the chain has '{sequence[place]}'"
        )
