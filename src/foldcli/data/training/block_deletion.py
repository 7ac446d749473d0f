"""MSA block deletion, so that training sees shallow alignments too (Suppl. Sec. 1.2.6)."""

import numpy as np

from foldcli.data.query import Alignment


def delete_blocks(alignment: Alignment, blocks: int, share: float, random: np.random.Generator) -> Alignment:
    """Delete `blocks` blocks of rows, each a share of all, which may overlap; the query stays (Suppl. Alg. 1)."""
    size = int(alignment.depth * share)
    starts = random.integers(alignment.depth, size=blocks)
    kept = np.ones(alignment.depth, np.bool_)
    for start in starts:
        kept[start : start + size] = False
    kept[0] = True
    return alignment.rows(np.flatnonzero(kept))
