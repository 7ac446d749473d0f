"""From a query to templates: what is searched, which hits are taken, and how a known chain is laid over the query."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foldcli.data.chain import Template
from foldcli.data.query import Query
from foldcli.protein.residues import GAP
from foldcli.search.hits import Hit, Sequences

MOST = 4
# Of a hundred queries without a relative, about one gets a hit by chance.
CUT_OFF = 0.01


def find_hits(sequences: Sequences, query: Query) -> list[Hit]:
    """The hits that become templates of a query, at most MOST, those that say most of it first."""
    if query.alignment is not None and query.alignment.depth > 1:
        return choose(sequences.hmmsearch(query.alignment, CUT_OFF), len(query.sequence))
    return choose(sequences.jackhmmer(query.sequence, CUT_OFF), len(query.sequence))


def choose(hits: Sequence[Hit], length: int) -> list[Hit]:
    """At most MOST hits, one by one that with most residues identical to the query's.

    A column that k of those taken cover already counts 1 / (1 + k), so that a part that nothing covers yet comes before
    one more chain like those taken.
    """
    left, taken = list(hits), list[Hit]()
    covered = np.zeros(length)
    while left and len(taken) < MOST:
        values = [hit.identity * (1 / (1 + covered[hit.columns])).sum() for hit in left]
        taken.append(left.pop(int(np.argmax(values))))
        covered[taken[-1].columns] += 1
    return taken


def lay_over(
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
