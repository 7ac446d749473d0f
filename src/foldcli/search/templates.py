"""Find templates for a query: search chains, choose hits, and align their atoms to the query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foldcli.data.chain import Chain, Template
from foldcli.data.formats.deposition import Deposition
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.protein.residues import CA, GAP, residue_types
from foldcli.search.hits import Hit, Sequences

MAX_TEMPLATES = 4
# E-value: about one query in a hundred without homologs gets a hit by chance.
CUT_OFF = 0.01
# AlphaFold treats a template with fewer atoms as empty.
FEWEST_ATOMS = 5


@dataclass(frozen=True)
class FoundTemplate:
    """A template and the hit that it was made from."""

    hit: Hit
    template: Template

    @property
    def residues(self) -> int:
        """Number of query residues with coordinates in the template."""
        return int(self.template.mask[:, CA].sum())

    def __str__(self) -> str:
        coverage = self.residues / len(self.template.aatype)
        found = f"identity {self.hit.identity:.0%}, coverage {coverage:.0%}, E-value {self.hit.evalue:.1g}"
        return f"{self.template.name} ({found})"


@dataclass(frozen=True)
class FoundTemplates:
    """The templates of a query, at most MAX_TEMPLATES; unused: why other candidates were left out, one line each.

    chains: of a complex, the templates of each chain, all of which `shown` has.
    """

    shown: Sequence[FoundTemplate] = ()
    unused: Sequence[str] = ()
    chains: Sequence[Sequence[FoundTemplate]] = ()


NO_TEMPLATES = FoundTemplates()


class TemplateSource(Protocol):
    """A source of templates."""

    def digest(self, query: Query) -> str:
        """A fingerprint of everything that determines this query's templates."""
        ...

    def find(self, query: Query) -> FoundTemplates: ...


def search(sequences: Sequences, query: Query) -> list[Hit]:
    """Search chains with a query's alignment, or its sequence if it has none; hits, best first."""
    if query.alignment is not None and query.alignment.depth > 1:
        return sequences.hmmsearch(query.alignment, CUT_OFF)
    return sequences.jackhmmer(query.sequence, CUT_OFF)


def choose_hits(hits: Sequence[Hit], length: int) -> list[Hit]:
    """Choose at most MAX_TEMPLATES hits greedily by number of residues identical to the query's.

    A column covered by k hits taken before counts 1 / (1 + k), so that hits to parts not yet covered come first.
    """
    left, taken = list(hits), list[Hit]()
    covered = np.zeros(length)
    while left and len(taken) < MAX_TEMPLATES:
        values = [hit.identity * (1 / (1 + covered[hit.columns])).sum() for hit in left]
        taken.append(left.pop(int(np.argmax(values))))
        covered[taken[-1].columns] += 1
    return taken


def template_from_hit(
    hit: Hit, length: int, aatype: NDArray[np.int8], positions: NDArray[np.float32], mask: NDArray[np.bool_]
) -> Template:
    """Place the aligned residues of a hit's chain on a query of `length` residues.

    aatype [n], positions [n, 37, 3] in angstrom and mask [n, 37] of the whole chain.
    """
    types = np.full(length, GAP, np.int8)
    atoms, present = np.zeros((length, 37, 3), np.float32), np.zeros((length, 37), np.bool_)
    types[hit.columns] = aatype[hit.places]
    atoms[hit.columns] = positions[hit.places]
    present[hit.columns] = mask[hit.places]
    return Template(hit.name, types, atoms, present)


def found_template(hit: Hit, chain: Chain, length: int) -> FoundTemplate:
    """Make a template of a hit and its chain; InputError if the aligned residues have no atoms."""
    template = template_from_hit(hit, length, residue_types(chain.sequence), chain.positions, chain.mask)
    if template.mask.sum() < FEWEST_ATOMS:
        raise InputError("has no atoms where it aligns")
    return FoundTemplate(hit, template)


def require_released(deposition: Deposition, latest: str) -> None:
    """Raise InputError for a structure released after `latest` or without a release date; `latest` empty: any."""
    if latest and not deposition.released:
        raise InputError(f"{deposition.path}: does not say when it was released, and none after {latest} is allowed")
    if latest and deposition.released > latest:
        raise InputError(f"{deposition.path}: was released on {deposition.released}, after {latest}")
