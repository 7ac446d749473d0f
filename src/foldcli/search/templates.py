"""From a query to templates: what is searched, which hits are taken, and how a known chain is laid over the query."""

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
# Of a hundred queries without a relative, about one gets a hit by chance.
CUT_OFF = 0.01
# With fewer atoms AlphaFold takes a template for empty.
FEWEST_ATOMS = 5


@dataclass(frozen=True)
class FoundTemplate:
    """A known chain that a query is shown: how it aligns, and its atoms laid over the query."""

    hit: Hit
    template: Template

    @property
    def residues(self) -> int:
        """How many of the query's residues stand somewhere in the template."""
        return int(self.template.mask[:, CA].sum())

    def __str__(self) -> str:
        coverage = self.residues / len(self.template.aatype)
        found = f"identity {self.hit.identity:.0%}, coverage {coverage:.0%}, E-value {self.hit.evalue:.1g}"
        return f"{self.template.name} ({found})"


@dataclass(frozen=True)
class FoundTemplates:
    """What a query is shown, at most MAX_TEMPLATES; unused: of what else was looked at, why not, one line each."""

    shown: Sequence[FoundTemplate] = ()
    unused: Sequence[str] = ()


NO_TEMPLATES = FoundTemplates()


class TemplateSource(Protocol):
    """Where templates come from."""

    def digest(self, query: Query) -> str:
        """What tells all that decides this query's templates from anything else."""
        ...

    def find(self, query: Query) -> FoundTemplates: ...


def search(sequences: Sequences, query: Query) -> list[Hit]:
    """The known chains that a query's alignment finds, or its sequence where it has none, the surest first."""
    if query.alignment is not None and query.alignment.depth > 1:
        return sequences.hmmsearch(query.alignment, CUT_OFF)
    return sequences.jackhmmer(query.sequence, CUT_OFF)


def choose_hits(hits: Sequence[Hit], length: int) -> list[Hit]:
    """At most MAX_TEMPLATES hits, one by one that with most residues identical to the query's.

    A column that k of those taken cover already counts 1 / (1 + k), so that a part that nothing covers yet comes before
    one more chain like those taken.
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
    """The chain of a hit, laid over a query of `length` residues: what is not aligned is left out.

    aatype [n], positions [n, 37, 3] in angstrom and mask [n, 37] are those of the whole chain.
    """
    types = np.full(length, GAP, np.int8)
    atoms, present = np.zeros((length, 37, 3), np.float32), np.zeros((length, 37), np.bool_)
    types[hit.columns] = aatype[hit.places]
    atoms[hit.columns] = positions[hit.places]
    present[hit.columns] = mask[hit.places]
    return Template(hit.name, types, atoms, present)


def found_template(hit: Hit, chain: Chain, length: int) -> FoundTemplate:
    """A hit with its chain, of which all atoms are known; InputError if it has none where it aligns."""
    template = template_from_hit(hit, length, residue_types(chain.sequence), chain.positions, chain.mask)
    if template.mask.sum() < FEWEST_ATOMS:
        raise InputError("has no atoms where it aligns")
    return FoundTemplate(hit, template)


def require_released(deposition: Deposition, latest: str) -> None:
    """InputError for a structure that was released after a date, YYYY-MM-DD, or does not say when; empty is no date."""
    if latest and not deposition.released:
        raise InputError(f"{deposition.path}: does not say when it was released, and none after {latest} is allowed")
    if latest and deposition.released > latest:
        raise InputError(f"{deposition.path}: was released on {deposition.released}, after {latest}")
