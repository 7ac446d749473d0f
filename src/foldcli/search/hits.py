"""Search sequences in memory with HMMER, and align hits to the query."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyhmmer import hmmer
from pyhmmer.easel import Alphabet, DigitalSequenceBlock, TextMSA, TextSequence
from pyhmmer.plan7 import Alignment as DomainAlignment
from pyhmmer.plan7 import Background, Builder, TopHits
from pyhmmer.plan7 import Hit as HmmerHit

from foldcli.data.query import Alignment
from foldcli.protein.residues import LETTERS_X

AMINO = Alphabet.amino()
TOKENS = np.array([*LETTERS_X, "-"])
# Rounds of jackhmmer, inclusion E-value of the next round's profile, and most rows of an alignment made into a profile.
ROUNDS, INCLUDED, LARGEST = 3, 1e-3, 1000


@dataclass(frozen=True)
class Hit:
    """A chain aligned to a query.

    columns [n]: aligned query positions, from 0, increasing; places [n]: the chain's residues aligned to them;
    identity: fraction of these n pairs with the same letter; evalue: of the whole chain.
    """

    name: str
    columns: NDArray[np.int64]
    places: NDArray[np.int64]
    identity: float
    evalue: float


class Sequences:
    """Named sequences to search with HMMER; hits have their names."""

    def __init__(self, letters: Mapping[str, str]) -> None:
        self.letters = letters
        self.block = digital(letters.items())

    def phmmer(self, queries: Sequence[tuple[str, str]], evalue: float, threads: int) -> Iterator[list[Hit]]:
        """Search with each query (name, sequence): hits up to an E-value, best first (HMMER 3, Eddy 2011)."""
        found = hmmer.phmmer(digital(queries), self.block, cpus=threads, E=evalue)
        for (_, sequence), hits in zip(queries, found, strict=True):
            yield self.aligned(sequence, hits)

    def jackhmmer(self, sequence: str, evalue: float) -> list[Hit]:
        """Search with a sequence in several rounds, each with a profile of the hits before (Johnson et al. 2010)."""
        query = digital([("query", sequence)])[0]
        rounds = hmmer.jackhmmer(
            query, self.block, max_iterations=ROUNDS, checkpoints=False, cpus=1, E=evalue, incE=INCLUDED
        )
        return self.aligned(sequence, next(rounds).hits)

    def hmmsearch(self, alignment: Alignment, evalue: float) -> list[Hit]:
        """Search with the profile of an alignment, of at most LARGEST of its rows."""
        rows = alignment.tokens[:: -(-alignment.depth // LARGEST)]
        texts = ["".join(TOKENS[row]) for row in rows]
        named = [TextSequence(name=str(k), sequence=text) for k, text in enumerate(texts)]
        msa = TextMSA(name="query", sequences=named).digitize(AMINO)
        # symfrac 0: every column is a match state, so that columns are the query's residues
        profile, _, _ = Builder(AMINO, symfrac=0.0).build_msa(msa, Background(AMINO))
        found = next(iter(hmmer.hmmsearch(profile, self.block, cpus=1, E=evalue)))
        return self.aligned(texts[0], found)

    def aligned(self, sequence: str, found: "TopHits[Any]") -> list[Hit]:
        """Convert HMMER's hits, for a query whose residues are the profile's match states."""
        return [hit for hit in (self._aligned(sequence, one) for one in found.reported) if len(hit.columns)]

    def _aligned(self, sequence: str, found: HmmerHit) -> Hit:
        columns, places = _merge(_pairs(domain.alignment) for domain in found.domains.reported)
        query, known = (np.frombuffer(text.encode(), np.uint8) for text in (sequence, self.letters[found.name]))
        same = query[columns] == known[places]
        return Hit(found.name, columns, places, float(same.mean()) if len(same) else 0.0, found.evalue)


def digital(sequences: Iterable[tuple[str, str]]) -> DigitalSequenceBlock:
    """Digitise named sequences for HMMER."""
    texts = (TextSequence(name=name, sequence=letters) for name, letters in sequences)
    return DigitalSequenceBlock(AMINO, [text.digitize(AMINO) for text in texts])


def _pairs(domain: DomainAlignment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Aligned query columns and chain residues of one domain, from 0."""
    in_query = np.frombuffer(domain.hmm_sequence.encode(), "S1") != b"."
    in_chain = np.frombuffer(domain.target_sequence.encode(), "S1") != b"-"
    both = in_query & in_chain
    columns, places = domain.hmm_from - 2 + in_query.cumsum(), domain.target_from - 2 + in_chain.cumsum()
    return columns[both], places[both]


def _merge(
    domains: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge domains, longest first, skipping those out of order with the ones taken in query or chain."""
    taken: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for columns, places in sorted(domains, key=lambda pair: -len(pair[0])):
        if len(columns) and all(
            (columns[0] > c[-1] and places[0] > p[-1]) or (columns[-1] < c[0] and places[-1] < p[0]) for c, p in taken
        ):
            taken.append((columns, places))
    taken.sort(key=lambda pair: pair[0][0])
    if not taken:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([c for c, _ in taken]), np.concatenate([p for _, p in taken])
