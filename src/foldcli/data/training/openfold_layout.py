"""Training data in OpenFold's layout: a folder of mmCIF files, and a folder of alignments, `2q2k_A/*.a3m|*.sto`."""

from pathlib import Path

import numpy as np

from foldcli.config import SourceConfig
from foldcli.data.chain import Chain
from foldcli.data.formats.alignment import ParsedAlignment, deduplicate, parse_a3m, parse_stockholm
from foldcli.data.formats.attach import ALIGNMENT_SUFFIXES
from foldcli.data.formats.mmcif import read_mmcif
from foldcli.data.formats.text_files import read_text
from foldcli.data.query import Alignment
from foldcli.data.training.chain_source import Entry, filter_entries
from foldcli.data.training.index import IndexedChain, read_index
from foldcli.errors import InputError
from foldcli.protein.residues import UNKNOWN, residue_types

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
        if file.suffix in ALIGNMENT_SUFFIXES and file.is_file() and not file.name.startswith(NOT_JOINED)
    ]  # fmt: skip
    return sorted(searches, key=lambda file: (_rank(file), file.name))


def _rank(file: Path) -> int:
    return next((k for k, search in enumerate(SEARCHES) if file.name.startswith(search)), len(SEARCHES))


def join_alignments(files: list[Path], sequence: str) -> Alignment:
    """Join the alignments of several searches for one chain, without duplicate rows.

    InputError names the file that cannot be read or whose query is another chain.
    """
    parts = [_read_search(file, sequence) for file in files]
    letters, deletions = (
        np.vstack(stacked) for stacked in zip(*((p.letters, p.deletions) for p in parts), strict=True)
    )
    alignment = deduplicate(ParsedAlignment(parts[0].title, letters, deletions)).alignment()
    alignment.tokens[0] = residue_types(sequence)
    return alignment


def _read_search(file: Path, sequence: str) -> ParsedAlignment:
    text = read_text(file)
    rows = parse_stockholm(text, file) if file.suffix == ".sto" else parse_a3m(text, file)
    _check_query(rows, sequence, file)
    most = list(SEARCHES.values())[_rank(file)] if _rank(file) < len(SEARCHES) else None
    return ParsedAlignment(rows.title, rows.letters[:most], rows.deletions[:most])


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


class OpenFoldSource:
    """The chains of an index, read from mmCIF files on demand (a `chain_source.ChainSource`)."""

    def __init__(self, config: SourceConfig, key: str) -> None:
        self._origin = config, key
        self._structures = _folder(config.structures, f"{key}.structures")
        self._alignments = _folder(config.alignments, f"{key}.alignments")
        if not config.index:
            raise InputError(f"'{key}.index' is empty; make one with `foldcli data index`")
        try:
            records = read_index(Path(config.index))
        except InputError as error:
            raise InputError(f"'{key}.index': {error}") from None
        everything = [record.entry for record in records]
        taken, self.dropped = filter_entries(everything, config)
        self.entries: list[Entry] = [everything[k] for k in taken]
        self._records: list[IndexedChain] = [records[k] for k in taken]

    def __reduce__(self) -> tuple[type["OpenFoldSource"], tuple[SourceConfig, str]]:
        """Pickle the configuration only; the other process reads the index itself."""
        return OpenFoldSource, self._origin

    def load(self, position: int) -> Chain:
        record = self._records[position]
        path = self._structures / record.file
        deposition = read_mmcif(path)
        polymer = next((each for each in deposition.polymers if each.chain == record.chain), None)
        if polymer is None or polymer.sequence != record.sequence:
            raise InputError(f"{path}: chain {record.chain} is not as indexed; run `foldcli data index` again")
        files = alignment_files(self._alignments, record.alignment) if record.alignment else []
        alignment = join_alignments(files, record.sequence) if files else None
        return deposition.chain(polymer, alignment)


def _folder(name: str, key: str) -> Path:
    if not name:
        raise InputError(f"'{key}' is empty; name the folder")
    if not Path(name).is_dir():
        raise InputError(f"'{key}': {name}: no such folder")
    return Path(name)
