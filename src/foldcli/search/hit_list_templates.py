"""Templates from a hit list of another program, with structures from a folder of mmCIF files."""

import hashlib
import re
from functools import cache
from pathlib import Path

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices
from numpy.typing import NDArray

from foldcli.data.chain import Chain
from foldcli.data.formats.letters import AS_ALPHAFOLD
from foldcli.data.formats.mmcif import MMCIF_SUFFIXES, read_mmcif
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.search.hit_lists import ListedHit, read_lists
from foldcli.search.hits import Hit, Sequences
from foldcli.search.templates import (
    CUT_OFF,
    MAX_TEMPLATES,
    FoundTemplate,
    FoundTemplates,
    found_template,
    require_released,
    search,
)
from foldcli.weights.files import sha256

# AlphaFold's filters: fewest residues, least coverage of the query, and the coverage at which an exact copy is dropped.
FEWEST_RESIDUES, LEAST_SHARE, COPY_SHARE = 10, 0.1, 0.95
# Least identity of a file's chain with the sequence in the list.
SAME_CHAIN = 0.9


class HitListTemplates:
    """Templates from a hit list or a folder of them; latest: last allowed release date, YYYY-MM-DD, empty for any.

    InputError: the list or the folder of structures cannot be read.
    """

    def __init__(self, hits: Path, folder: Path, latest: str) -> None:
        if not folder.is_dir():
            raise InputError(f"--template-dir {folder}: no such folder")
        self.path, self.lists, self.latest = hits, read_lists(hits), latest
        self.files = {file.name.lower(): file for file in sorted(folder.iterdir())}
        self.folder, self.sum_of = folder, cache(sha256)

    def digest(self, query: Query) -> str:
        """A fingerprint of this query's hits and their files."""
        listed = self._listed(query)
        files = (self._file(hit) for hit in listed)
        sums = [self.sum_of(file) if file else "" for file in files]
        return hashlib.sha256(repr((listed, sums)).encode()).hexdigest()

    def find(self, query: Query) -> FoundTemplates:
        """The first MAX_TEMPLATES hits that can be used."""
        found, unused = list[FoundTemplate](), list[str]()
        for hit in self._listed(query):
            if len(found) == MAX_TEMPLATES:
                break
            try:
                found.append(self._shown(hit, query))
            except InputError as error:
                unused.append(f"{hit.name}: {error}")
        if not self._listed(query):
            unused.append(f"{self.path}: has no hit of {query.name}")
        return FoundTemplates(found, unused)

    def _listed(self, query: Query) -> list[ListedHit]:
        return self.lists.get(query.name, self.lists.get("", []))

    def _file(self, hit: ListedHit) -> Path | None:
        entry = hit.name.rpartition("_")[0].lower()
        return next((self.files[entry + suffix] for suffix in MMCIF_SUFFIXES if entry + suffix in self.files), None)

    def _shown(self, listed: ListedHit, query: Query) -> FoundTemplate:
        chain = self._chain(listed)
        hit = align(listed, chain.sequence, query)
        require_informative(hit, chain.sequence, query)
        return found_template(hit, chain, len(query.sequence))

    def _chain(self, hit: ListedHit) -> Chain:
        """Read the chain that a hit names, or the only one of the file."""
        file = self._file(hit)
        if file is None:
            raise InputError(f"{self.folder} has no {hit.name.rpartition('_')[0].lower()}.cif")
        deposition = read_mmcif(file)
        require_released(deposition, self.latest)
        polymers = [polymer for polymer in deposition.polymers if polymer.has_backbone]
        named = [polymer for polymer in polymers if polymer.chain == hit.name.rpartition("_")[2]]
        if not named and len(polymers) != 1:
            there = ", ".join(polymer.chain for polymer in polymers) or "none"
            raise InputError(f"{file} has no such protein chain; it has {there}")
        return deposition.chain((named or polymers)[0])


def align(listed: ListedHit, sequence: str, query: Query) -> Hit:
    """Align a listed hit's chain to the query: as the list does, or by a search if it has no alignment.

    InputError: the list is of another query, or of another chain.
    """
    if not listed.query:
        hits = search(Sequences({listed.name: sequence}), query)
        if not hits:
            raise InputError(f"does not align to {query.name} with an E-value up to {CUT_OFF}")
        return hits[0]
    columns, residues = listed.pairs()
    _require_query(listed, query)
    places = _places(listed.known.replace("-", ""), sequence)[residues]
    there = places >= 0
    columns, places = columns[there], places[there]
    same = [query.sequence[c] == sequence[p] for c, p in zip(columns, places, strict=True)]
    return Hit(listed.name, columns, places, float(np.mean(same)), listed.evalue)


def _require_query(listed: ListedHit, query: Query) -> None:
    letters = listed.query.replace("-", "").translate(AS_ALPHAFOLD)
    there = query.sequence[listed.first : listed.first + len(letters)]
    if there != letters:
        raise InputError(f"its alignment is of another sequence than {query.name}")


def _places(part: str, sequence: str) -> NDArray[np.int64]:
    """Locate a part in its chain: the residue for each letter, -1 for none; X matches any.

    Where the file has another version of the chain, the part is aligned to it. InputError: it is another chain.
    """
    pattern = "".join("." if letter == "X" else f"[{letter}X]" for letter in part)
    if found := re.search(pattern, sequence):
        return np.arange(found.start(), found.end())
    part = re.sub("[JOU]", "X", part)  # letters that BLOSUM62 has not
    places = realign(part, sequence)
    same = sum(letter == sequence[place] for letter, place in zip(part, places, strict=True) if place >= 0)
    if same < SAME_CHAIN * min(len(part), len(sequence)):
        raise InputError("the chain in the file has another sequence than the one in the list")
    return places


def realign(part: str, sequence: str) -> NDArray[np.int64]:
    """Align two sequences globally, end gaps free: the residue of `sequence` for each letter of `part`, -1 for none."""
    in_part, in_sequence = _aligner().align(part, sequence)[0].indices
    places = np.full(len(part), -1)
    places[in_part[in_part >= 0]] = in_sequence[in_part >= 0]
    return places


@cache
def _aligner() -> PairwiseAligner:
    blosum = substitution_matrices.load("BLOSUM62")
    # gap penalties of BLAST's protein search
    return PairwiseAligner(substitution_matrix=blosum, open_gap_score=-12, extend_gap_score=-1, end_gap_score=0)


def require_informative(hit: Hit, sequence: str, query: Query) -> None:
    """Raise InputError for a hit that AlphaFold leaves out: too short, of low coverage, or a copy of the query."""
    first, last = hit.places[0], hit.places[-1]
    part = sequence[first : last + 1]
    if len(part) < FEWEST_RESIDUES:
        raise InputError(f"has {len(part)} residues, fewer than {FEWEST_RESIDUES}")
    if len(hit.columns) <= LEAST_SHARE * len(query.sequence):
        raise InputError(f"aligns to {len(hit.columns)} of {len(query.sequence)} residues, a tenth or less")
    if part in query.sequence and len(part) > COPY_SHARE * len(query.sequence):
        raise InputError("is the query itself; name its file with --template to use it")
