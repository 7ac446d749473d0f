"""Iterative profile search of FASTA databases with HMMER, in process (Johnson et al. 2010)."""

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pyhmmer.easel import TextMSA, TextSequence
from pyhmmer.plan7 import HMM, Background, Builder, Domain, Pipeline
from pyhmmer.plan7 import Hit as HmmerHit

from foldcli.search.database import AMINO, Block, Database
from foldcli.search.progress import SearchProgress

# What AlphaFold asks of jackhmmer for UniRef90 (alphafold/data/tools/jackhmmer.py), and how many hits it takes of it.
EVALUE, FILTERS, MAX_HITS = 1e-4, (5e-4, 5e-5, 5e-7), 10_000
# jackhmmer's own E-value for a stretch of a hit, among the hits alone.
STRETCH_EVALUE = 1e-3
CELL = re.compile("([A-Z-])([a-z]*)")


@dataclass(frozen=True)
class Stretch:
    """A part of a sequence aligned to the query: whose it is, from where to where, its row in A3M, and how likely
    chance is."""

    name: str
    place: str
    row: str
    pvalue: float


@dataclass(frozen=True)
class Match:
    """A sequence that HMMER takes for a relative, before it is known among how many."""

    name: str
    score: float
    pvalue: float
    stretches: tuple[Stretch, ...]


class Jackhmmer:
    """Searches a FASTA database in so many rounds, in so many threads."""

    methods = ("alignment by HMMER",)

    def __init__(self, database: Database, rounds: int, threads: int) -> None:
        self.database, self.rounds, self.threads = database, rounds, threads

    def __str__(self) -> str:
        return self.database.path.name

    @property
    def settings(self) -> str:
        """All that decides what is found."""
        return json.dumps(["jackhmmer", EVALUE, STRETCH_EVALUE, FILTERS, MAX_HITS, self.rounds, self.database.digest])

    def search(self, sequence: str, report: SearchProgress) -> str:
        """The relatives of a sequence in A3M, itself first; InputError for a database that cannot be read.

        As in HMMER the last round is the first that finds no other sequence than the one before, and no more stretches.
        """
        builder, background = Builder(AMINO, architecture="hand"), Background(AMINO)
        profile, _, _ = builder.build(TextSequence(name="query", sequence=sequence).digitize(AMINO), background)
        found, names = list[Stretch](), set[str]()
        for number in range(1, self.rounds + 1):
            known, before = names, len(found)
            taken = self._scan(profile, number, report)
            found = [one for match in taken for one in match.stretches]
            names = {match.name for match in taken}  # those without a stretch that stands out too
            if number == self.rounds or (names <= known and len(found) <= before):
                break
            rows = equal_width([sequence, *(one.row for one in found)])
            profile, _, _ = builder.build_msa(rows.digitize(AMINO), background)
        return f">query\n{sequence}\n" + "".join(f">{one.name}/{one.place}\n{one.row}\n" for one in found)

    def _scan(self, profile: "HMM[Any]", number: int, report: SearchProgress) -> list[Match]:
        """The sequences of the database that a round's profile finds, the best first."""
        matches: list[Match] = []
        count = 0
        for block, searched, found in self._searched(profile):
            count += searched
            matches = best([*matches, *found])
            report(f"round {number}: {count:,} sequences searched", block.share)
        return included(matches, count)

    def _searched(self, profile: "HMM[Any]") -> Iterator[tuple[Block, int, list[Match]]]:
        """Each block with its number of sequences and its matches; few are held at a time."""
        waiting: deque[tuple[Block, Future[tuple[int, list[Match]]]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for block in self.database.blocks():
                waiting.append((block, pool.submit(_search_block, profile, self.database, block)))
                if len(waiting) > self.threads:
                    first, found = waiting.popleft()
                    yield first, *found.result()
            for first, found in waiting:
                yield first, *found.result()


def _search_block(profile: "HMM[Any]", database: Database, block: Block) -> tuple[int, list[Match]]:
    sequences = database.sequences(block)
    # E-values grow with the number of sequences: what is too weak among these is so among all
    f1, f2, f3 = FILTERS
    pipeline = Pipeline(AMINO, F1=f1, F2=f2, F3=f3, E=EVALUE, domE=STRETCH_EVALUE)
    return len(sequences), [_match(hit, profile.M) for hit in pipeline.search_hmm(profile, sequences).reported]


def _match(hit: HmmerHit, length: int) -> Match:
    return Match(hit.name, hit.score, hit.pvalue, tuple(_stretch(domain, length) for domain in hit.domains.reported))


def _stretch(domain: Domain, length: int) -> Stretch:
    """A domain as a row of A3M: HMMER writes insertions in lower case as well."""
    at = domain.alignment
    row = "-" * (at.hmm_from - 1) + at.target_sequence + "-" * (length - at.hmm_to)
    return Stretch(at.target_name, f"{at.target_from}-{at.target_to}", row, domain.pvalue)


def best(matches: list[Match]) -> list[Match]:
    """At most MAX_HITS matches, the best first, those of one score in the order of the database."""
    return sorted(matches, key=lambda match: -match.score)[:MAX_HITS]


def included(matches: Sequence[Match], searched: int) -> list[Match]:
    """The matches that stand out among so many sequences, with the stretches that stand out among theirs."""
    taken = [match for match in matches if match.pvalue * searched <= EVALUE]
    return [replace(match, stretches=_outstanding(match.stretches, len(taken))) for match in taken]


def _outstanding(stretches: Sequence[Stretch], taken: int) -> tuple[Stretch, ...]:
    return tuple(one for one in stretches if one.pvalue * taken <= STRETCH_EVALUE)


def equal_width(rows: Sequence[str]) -> TextMSA:
    """Rows of A3M as an alignment of equal widths, the query's columns marked for the profile."""
    cells = [CELL.findall(row) for row in rows]
    widths = [max(len(inserted) for _, inserted in column) for column in zip(*cells, strict=True)]
    texts = [
        "".join(f"{letter}{inserted:.<{width}}" for (letter, inserted), width in zip(row, widths, strict=True))
        for row in cells
    ]
    alignment = TextMSA(name="query", sequences=[TextSequence(name=str(k), sequence=t) for k, t in enumerate(texts)])
    alignment.reference = "".join("x" + "." * width for width in widths)
    return alignment
