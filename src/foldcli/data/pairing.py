"""Pair the rows of a complex's alignments by species (Evans et al. 2021, Suppl. Sec. 7.2)."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from foldcli.data.query import Alignment
from foldcli.data.species import species_of
from foldcli.protein.residues import GAP

# A species with more rows than this in one alignment is left out: what pairs in it cannot be told.
MOST_OF_SPECIES = 600
NO_ROW = -1
Numbers = NDArray[np.int64]


def pair_by_species(alignments: Sequence[Alignment], copies: Sequence[int]) -> list[Alignment]:
    """The paired rows of each sequence's alignment, the query first; copies: how many chains have each sequence.

    Rows of one species are paired in the order of their identity with the query. Rows of more chains come first, then
    those that stand earlier in the alignments; a sequence without a row has gaps.
    """
    of_species = [_rows_of_species(alignment) for alignment in alignments]
    chains = np.repeat(np.arange(len(alignments)), copies)
    by_count: dict[int, list[Numbers]] = {}
    for species in sorted(set().union(*of_species)):
        rows = [found.get(species) for found in of_species]
        present = sum(count for found, count in zip(rows, copies, strict=True) if found is not None)
        if present > 1 and all(found is None or len(found) <= MOST_OF_SPECIES for found in rows):
            by_count.setdefault(present, []).extend(_matched(rows))
    order = [np.zeros(len(alignments), np.int64)]
    for count in sorted(by_count, reverse=True):
        found = np.array(by_count[count])
        # the product over all chains, in 64 bits, as AlphaFold sorts
        order.extend(found[np.argsort(np.abs(found[:, chains].prod(axis=1)), kind="stable")])
    numbers = np.array(order)
    return [_taken(alignment, numbers[:, k]) for k, alignment in enumerate(alignments)]


def _rows_of_species(alignment: Alignment) -> dict[str, Numbers]:
    """The numbers of each species' rows, those most identical to the query first."""
    rows: dict[str, list[int]] = {}
    for number, title in enumerate(alignment.titles[1:], start=1):
        if species := species_of(title):
            rows.setdefault(species, []).append(number)
    identity = (alignment.tokens == alignment.tokens[0]).mean(axis=1)
    return {name: np.array(found)[np.argsort(-identity[found], kind="stable")] for name, found in rows.items()}


def _matched(rows: Sequence[Numbers | None]) -> Iterator[Numbers]:
    """The rows of a species that go together, as many as the sequence with the fewest has; None: it has none."""
    count = min(len(found) for found in rows if found is not None)
    for k in range(count):
        yield np.array([NO_ROW if found is None else found[k] for found in rows])


def _taken(alignment: Alignment, numbers: Numbers) -> Alignment:
    missing = numbers == NO_ROW
    tokens, deletions = alignment.tokens[numbers], alignment.deletions[numbers]
    tokens[missing], deletions[missing] = GAP, 0
    titles = alignment.titles or [""] * alignment.depth
    return Alignment(tokens, deletions, tuple("" if k == NO_ROW else titles[k] for k in numbers))
