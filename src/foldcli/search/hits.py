"""Known chains that HMMER finds for a query, in process, and how they align to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyhmmer import hmmer
from pyhmmer.easel import Alphabet, DigitalSequenceBlock, TextMSA, TextSequence
from pyhmmer.plan7 import Alignment as Stretch
from pyhmmer.plan7 import Background, Builder, TopHits
from pyhmmer.plan7 import Hit as HmmerHit

from foldcli.data.query import Alignment
from foldcli.protein.residues import LETTERS_X

AMINO = Alphabet.amino()
TOKENS = np.array([*LETTERS_X, "-"])
# Rounds of jackhmmer, the E-value of what goes into the next one's profile, and rows of an alignment made into one.
ROUNDS, INCLUDED, LARGEST = 3, 1e-3, 1000


@dataclass(frozen=True)
class Hit:
    """A known chain aligned to a query.

    columns [n]: places in the query, from 0 and rising; places [n]: the residues of the chain that stand there;
    identity: share of these n pairs with the same letter; evalue: of the whole chain, among all that were searched.
    """

    name: str
    columns: NDArray[np.int64]
    places: NDArray[np.int64]
    identity: float
    evalue: float


class Sequences:
    """Named sequences, ready to be searched; a hit's name is the sequence's."""

    def __init__(self, letters: Mapping[str, str]) -> None:
        self.letters = letters
        self.block = digital(letters.items())

    def phmmer(self, queries: Sequence[tuple[str, str]], evalue: float, threads: int) -> Iterator[list[Hit]]:
        """Hits of each query (name, sequence), the best first, up to an E-value (HMMER 3, Eddy 2011)."""
        found = hmmer.phmmer(digital(queries), self.block, cpus=threads, E=evalue)
        for (_, sequence), hits in zip(queries, found, strict=True):
            yield self.aligned(sequence, hits)

    def jackhmmer(self, sequence: str, evalue: float) -> list[Hit]:
        """Hits of a sequence, searched again with a profile of what was found (Johnson et al. 2010)."""
        query = digital([("query", sequence)])[0]
        rounds = hmmer.jackhmmer(
            query, self.block, max_iterations=ROUNDS, checkpoints=False, cpus=1, E=evalue, incE=INCLUDED
        )
        return self.aligned(sequence, next(rounds).hits)

    def hmmsearch(self, alignment: Alignment, evalue: float) -> list[Hit]:
        """Hits of the profile of an alignment, of whose rows at most LARGEST are looked at."""
        rows = alignment.tokens[:: -(-alignment.depth // LARGEST)]
        texts = ["".join(TOKENS[row]) for row in rows]
        named = [TextSequence(name=str(k), sequence=text) for k, text in enumerate(texts)]
        msa = TextMSA(name="query", sequences=named).digitize(AMINO)
        # symfrac 0: every column is one of the profile's, so that columns are the query's residues
        profile, _, _ = Builder(AMINO, symfrac=0.0).build_msa(msa, Background(AMINO))
        found = next(iter(hmmer.hmmsearch(profile, self.block, cpus=1, E=evalue)))
        return self.aligned(texts[0], found)

    def aligned(self, sequence: str, found: "TopHits[Any]") -> list[Hit]:
        """What HMMER found for a query of which every residue is one column of the profile."""
        return [hit for hit in (self._aligned(sequence, one) for one in found.reported) if len(hit.columns)]

    def _aligned(self, sequence: str, found: HmmerHit) -> Hit:
        columns, places = _merge(_pairs(domain.alignment) for domain in found.domains.reported)
        query, known = (np.frombuffer(text.encode(), np.uint8) for text in (sequence, self.letters[found.name]))
        same = query[columns] == known[places]
        return Hit(found.name, columns, places, float(same.mean()) if len(same) else 0.0, found.evalue)


def digital(sequences: Iterable[tuple[str, str]]) -> DigitalSequenceBlock:
    """Named sequences as HMMER takes them."""
    texts = (TextSequence(name=name, sequence=letters) for name, letters in sequences)
    return DigitalSequenceBlock(AMINO, [text.digitize(AMINO) for text in texts])


def _pairs(stretch: Stretch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Query columns and chain residues, from 0, that stand on one another in one aligned stretch."""
    in_query = np.frombuffer(stretch.hmm_sequence.encode(), "S1") != b"."
    in_chain = np.frombuffer(stretch.target_sequence.encode(), "S1") != b"-"
    both = in_query & in_chain
    columns, places = stretch.hmm_from - 2 + in_query.cumsum(), stretch.target_from - 2 + in_chain.cumsum()
    return columns[both], places[both]


def _merge(
    stretches: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The longest stretch, and of the others those that lie before or behind it in the query and in the chain alike."""
    taken: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for columns, places in sorted(stretches, key=lambda pair: -len(pair[0])):
        if len(columns) and all(
            (columns[0] > c[-1] and places[0] > p[-1]) or (columns[-1] < c[0] and places[-1] < p[0]) for c, p in taken
        ):
            taken.append((columns, places))
    taken.sort(key=lambda pair: pair[0][0])
    if not taken:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([c for c, _ in taken]), np.concatenate([p for _, p in taken])
