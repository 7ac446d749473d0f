"""The alignments of a complex as one, over all its chains (Evans et al. 2021, Suppl. Sec. 7.2)."""

from collections.abc import Sequence

import numpy as np

from foldcli.data.query import Alignment, EntityMsa, Query
from foldcli.protein.residues import GAP

# Rows of a chain's alignments that are taken, and of these the most that are paired, as AlphaFold takes them.
MOST_ROWS, MOST_PAIRED = 2048, 1024


def merged_alignment(query: Query, pair_mode: str = "unpaired_paired") -> Alignment:
    """The rows of a query's alignments: those that are paired, over all chains, then each sequence's own.

    Own rows equal to a paired one of their sequence are left out, and they have gaps in chains of other sequences.
    Copies of a sequence have the same rows. pair_mode: as the setting, where there are several sequences. A single
    chain's alignment is returned as it is, but for its number of rows.
    """
    msas = query.msas or (EntityMsa(query.alignment),) * len(query.entities)
    alone = [Alignment.of_sequence(entity) for entity in query.entities]
    own = [one.unpaired or sequence for one, sequence in zip(msas, alone, strict=True)]
    if len(own) == 1:
        return _over_chains(query, [], [_first(own[0], MOST_ROWS)])
    if pair_mode == "paired":
        own = alone
    paired = alone if pair_mode == "unpaired" else [one.paired or row for one, row in zip(msas, alone, strict=True)]
    own = [_without(rows, pairs) for rows, pairs in zip(own, paired, strict=True)]
    paired = [_first(rows, MOST_PAIRED) for rows in paired]
    counts = [int((pairs.tokens != GAP).any(axis=1).sum()) for pairs in paired]
    own = [_first(rows, MOST_ROWS - count) for rows, count in zip(own, counts, strict=True)]
    return _over_chains(query, paired, own)


def shown_alignment(query: Query) -> Alignment:
    """All rows that a query brings, the sequence alone where it brings none."""
    if query.chain_lengths:
        return merged_alignment(query)
    return query.alignment or Alignment.of_sequence(query.sequence)


def _first(alignment: Alignment, count: int) -> Alignment:
    return alignment.rows(np.arange(min(count, alignment.depth)))


def _without(alignment: Alignment, others: Alignment) -> Alignment:
    """The rows whose letters are those of no row of the others."""
    known = {row.tobytes() for row in others.tokens}
    return alignment.rows(np.flatnonzero([row.tobytes() not in known for row in alignment.tokens]))


def _over_chains(query: Query, paired: Sequence[Alignment], own: Sequence[Alignment]) -> Alignment:
    """Lay out the rows of each sequence in the columns of all chains that have it; there are gaps elsewhere."""
    pairs = paired[0].depth if paired else 0
    starts = pairs + np.cumsum([0, *(rows.depth for rows in own)])
    tokens = np.full((starts[-1], len(query.sequence)), GAP, np.int8)
    deletions = np.zeros(tokens.shape, np.int32)
    end = 0
    for chain in query.chains:
        entity = query.entities.index(chain)
        columns, rows = slice(end, end + len(chain)), slice(starts[entity], starts[entity + 1])
        tokens[rows, columns], deletions[rows, columns] = own[entity].tokens, own[entity].deletions
        if paired:
            tokens[:pairs, columns], deletions[:pairs, columns] = paired[entity].tokens, paired[entity].deletions
        end += len(chain)
    return Alignment(tokens, deletions)
