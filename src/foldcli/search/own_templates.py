"""Templates from structure files of the user, one from each file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from foldcli.data.chain import Chain
from foldcli.data.formats.structure_files import STRUCTURE_SUFFIXES, read_structure, structure_files
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.protein.residues import CA
from foldcli.search.hits import Hit, Sequences
from foldcli.search.templates import (
    CUT_OFF,
    MAX_TEMPLATES,
    FoundTemplate,
    FoundTemplates,
    choose_hits,
    found_template,
    require_released,
    search,
)
from foldcli.weights.files import sha256


class OwnTemplates:
    """Structure files, and folders of them; latest: last allowed release date, YYYY-MM-DD, empty for any.

    InputError: a path does not exist or has no structure. Errors within a file are reported with each query.
    """

    def __init__(self, paths: Sequence[Path], latest: str) -> None:
        if missing := [path for path in paths if not path.exists()]:
            raise InputError(f"--template {missing[0]}: no such file or folder")
        found = [[path] if path.is_file() else structure_files(path, STRUCTURE_SUFFIXES) for path in paths]
        self.files = list(dict.fromkeys(file for files in found for file in files))
        self.latest = latest

    def digest(self, query: Query) -> str:
        """A fingerprint of the files."""
        return self._digest

    def find(self, query: Query) -> FoundTemplates:
        """The best chain of each file; of more than MAX_TEMPLATES, those that together cover most of the query."""
        chains, unused = self._chains
        hits = {hit.name: hit for hit in search(self._sequences, query)} if chains else {}
        best: dict[Path, FoundTemplate] = {}
        for file in dict.fromkeys(file for file, _ in chains.values()):
            own = {number: chain for number, (origin, chain) in chains.items() if origin == file}
            try:
                best[file] = _best(own, hits, query)
            except InputError as error:
                unused = [*unused, f"{file}: {error}"]
        taken = [id(hit) for hit in choose_hits([one.hit for one in best.values()], len(query.sequence))]
        late = [f"{file}: {MAX_TEMPLATES} others say more" for file, one in best.items() if id(one.hit) not in taken]
        shown = (one for one in best.values() if id(one.hit) in taken)
        return FoundTemplates(sorted(shown, key=lambda one: taken.index(id(one.hit))), [*unused, *late])

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(" ".join(f"{file.name} {sha256(file)}" for file in self.files).encode()).hexdigest()

    @cached_property
    def _sequences(self) -> Sequences:
        return Sequences({number: chain.sequence for number, (_, chain) in self._chains[0].items()})

    @cached_property
    def _chains(self) -> tuple[dict[str, tuple[Path, Chain]], list[str]]:
        """All chains by number, with their files; and why files were refused."""
        found: list[tuple[Path, Chain]] = []
        refused = []
        for file in self.files:
            try:
                found += [(file, chain) for chain in _chains_of(file, self.latest)]
            except InputError as error:
                refused.append(str(error))
        return {str(number): one for number, one in enumerate(found)}, refused


def _chains_of(file: Path, latest: str) -> list[Chain]:
    deposition = read_structure(file)
    require_released(deposition, latest)
    chains = [deposition.chain(polymer) for polymer in deposition.polymers if polymer.has_backbone]
    if not chains:
        why = ": no residue has N, CA and C" if deposition.polymers else ""
        raise InputError(f"{file}: has no protein chain{why}")
    return chains


def _best(chains: Mapping[str, Chain], hits: Mapping[str, Hit], query: Query) -> FoundTemplate:
    """The chain with most observed residues identical to the query; InputError if none aligns."""
    aligned = [(replace(hits[number], name=chain.name), chain) for number, chain in chains.items() if number in hits]
    if not aligned:
        raise InputError(f"no chain of it aligns to {query.name} with an E-value up to {CUT_OFF}")
    hit, chain = max(aligned, key=lambda pair: pair[0].identity * pair[1].mask[pair[0].places, CA].sum())
    return found_template(hit, chain, len(query.sequence))
