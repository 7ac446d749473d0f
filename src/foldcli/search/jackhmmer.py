"""Iterative profile search of FASTA databases with HMMER, in process (Johnson et al. 2010)."""

import json
import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pyhmmer.easel import TextMSA, TextSequence
from pyhmmer.plan7 import HMM, Background, Builder, Domain, Pipeline
from pyhmmer.plan7 import Hit as HmmerHit

from foldcli.errors import InputError
from foldcli.search.database import AMINO, Block, Database
from foldcli.search.progress import SearchProgress

# AlphaFold's settings of jackhmmer for UniRef90 (alphafold/data/tools/jackhmmer.py), and how many hits AlphaFold keeps.
EVALUE, FILTERS, MAX_HITS = 1e-4, (5e-4, 5e-5, 5e-7), 10_000
# jackhmmer's inclusion E-value for a domain of a hit, among the hits.
DOMAIN_EVALUE = 1e-3
# A letter in a column of the query, and the insertions after it.
COLUMN = re.compile("([A-Z-])([a-z]*)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DomainHit:
    """A domain of a sequence aligned to the query; title: name, first and last residue, description; row: in A3M."""

    title: str
    row: str
    pvalue: float


@dataclass(frozen=True)
class Match:
    """A candidate homolog, whose E-value depends on the number of sequences, known only at the end of the search."""

    name: str
    score: float
    pvalue: float
    domains: tuple[DomainHit, ...]


class Jackhmmer:
    """Searches a FASTA database in several rounds and threads."""

    methods = ("alignment by HMMER",)

    def __init__(self, database: Database, rounds: int, threads: int) -> None:
        self.database, self.rounds, self.threads = database, rounds, threads

    def __str__(self) -> str:
        return self.database.path.name

    @property
    def settings(self) -> str:
        """Everything that determines the result; part of the cache key."""
        return json.dumps(["jackhmmer", EVALUE, DOMAIN_EVALUE, FILTERS, MAX_HITS, self.rounds, self.database.digest])

    def search(self, sequence: str, progress: SearchProgress) -> str:
        """Find homologs of a sequence, as A3M with the sequence first; InputError if the database cannot be read.

        As in HMMER, the search has converged when a round finds no new sequence and no more domains.
        """
        builder, background = Builder(AMINO, architecture="hand"), Background(AMINO)
        profile, _, _ = builder.build(TextSequence(name="query", sequence=sequence).digitize(AMINO), background)
        found, names = list[DomainHit](), set[str]()
        for number in range(1, self.rounds + 1):
            known, before = names, len(found)
            taken = self._scan(profile, number, progress)
            found = [one for match in taken for one in match.domains]
            names = {match.name for match in taken}  # also those without a significant domain
            if number == self.rounds or (names <= known and len(found) <= before):
                break
            rows = equal_width([sequence, *(one.row for one in found)])
            profile, _, _ = builder.build_msa(rows.digitize(AMINO), background)
        return f">query\n{sequence}\n" + "".join(f">{one.title}\n{one.row}\n" for one in found)

    def _scan(self, profile: "HMM[Any]", number: int, progress: SearchProgress) -> list[Match]:
        """Search the database with a round's profile; matches, best first."""
        matches: list[Match] = []
        count, passed_over = 0, list[str]()
        for block, searched, faults, found in self._searched(profile):
            count += searched
            passed_over += faults
            matches = keep_best([*matches, *found])
            progress(f"round {number}: {count:,} sequences searched", block.share)
        if passed_over and not count:
            raise InputError(passed_over[0])
        if passed_over and number == 1:
            _log.warning("%s: %d records passed over; the first: %s", self.database.path, len(passed_over),
                         passed_over[0])  # fmt: skip
        return included(matches, count)

    def _searched(self, profile: "HMM[Any]") -> Iterator[tuple[Block, int, list[str], list[Match]]]:
        """Yield each block with its number of sequences, the records passed over and its matches.

        Few blocks are held at a time.
        """
        waiting: deque[tuple[Block, Future[tuple[int, list[str], list[Match]]]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for block in self.database.blocks():
                waiting.append((block, pool.submit(_search_block, profile, self.database, block)))
                if len(waiting) > self.threads:
                    first, found = waiting.popleft()
                    yield first, *found.result()
            for first, found in waiting:
                yield first, *found.result()


def _search_block(profile: "HMM[Any]", database: Database, block: Block) -> tuple[int, list[str], list[Match]]:
    sequences, faults = database.sequences(block)
    # E-values grow with the number of sequences: a hit not significant against one block cannot be against all.
    f1, f2, f3 = FILTERS
    pipeline = Pipeline(AMINO, F1=f1, F2=f2, F3=f3, E=EVALUE, domE=DOMAIN_EVALUE)
    return len(sequences), faults, [_match(hit, profile.M) for hit in pipeline.search_hmm(profile, sequences).reported]


def _match(hit: HmmerHit, length: int) -> Match:
    return Match(hit.name, hit.score, hit.pvalue, tuple(_domain_hit(domain, length) for domain in hit.domains.reported))


def _domain_hit(domain: Domain, length: int) -> DomainHit:
    """Write a domain as a row of A3M; HMMER too has insertions in lower case."""
    at = domain.alignment
    row = "-" * (at.hmm_from - 1) + at.target_sequence + "-" * (length - at.hmm_to)
    title = f"{at.target_name}/{at.target_from}-{at.target_to} {domain.hit.description or ''}"
    return DomainHit(title.strip(), row, domain.pvalue)


def keep_best(matches: list[Match]) -> list[Match]:
    """Keep at most MAX_HITS matches, best first, equal scores in the order of the database."""
    return sorted(matches, key=lambda match: -match.score)[:MAX_HITS]


def included(matches: Sequence[Match], searched: int) -> list[Match]:
    """Keep the matches significant among all sequences searched, with the domains significant among matches."""
    taken = [match for match in matches if match.pvalue * searched <= EVALUE]
    return [replace(match, domains=_significant(match.domains, len(taken))) for match in taken]


def _significant(domains: Sequence[DomainHit], taken: int) -> tuple[DomainHit, ...]:
    return tuple(one for one in domains if one.pvalue * taken <= DOMAIN_EVALUE)


def equal_width(rows: Sequence[str]) -> TextMSA:
    """Pad rows of A3M to an aligned MSA, with the query's columns marked as match states."""
    cells = [COLUMN.findall(row) for row in rows]
    widths = [max(len(inserted) for _, inserted in column) for column in zip(*cells, strict=True)]
    texts = [
        "".join(f"{letter}{inserted:.<{width}}" for (letter, inserted), width in zip(row, widths, strict=True))
        for row in cells
    ]
    alignment = TextMSA(name="query", sequences=[TextSequence(name=str(k), sequence=t) for k, t in enumerate(texts)])
    alignment.reference = "".join("x" + "." * width for width in widths)
    return alignment
