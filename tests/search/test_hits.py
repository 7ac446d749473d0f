"""HMMER's hits are aligned to the query residue by residue, also around insertions and deletions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldcli.data.query import Alignment, Query
from foldcli.protein.residues import GAP, INDEX
from foldcli.search.chains import KnownChain
from foldcli.search.hits import Hit, _merge
from foldcli.search.library import Library
from foldcli.search.templates import choose_hits, search

EXTRA, CUT = "GSGSGS", slice(30, 36)


@pytest.fixture
def homolog(chains: list[KnownChain]) -> KnownChain:
    return max(chains, key=lambda chain: len(chain.sequence))


@pytest.fixture
def query(homolog: KnownChain) -> str:
    """The homolog's sequence with a tail in front, six residues deleted, and six others inserted further on."""
    known = homolog.sequence
    return "MKKDE" + known[: CUT.start] + known[CUT.stop : 60] + EXTRA + known[60:]


def expected(length: int) -> dict[int, int]:
    """Residue of the homolog by column of the query."""
    places = [*range(CUT.start), *range(CUT.stop, 60)]
    return dict(zip([*range(5, 59), *range(65, length)], [*places, *range(60, length)], strict=False))


def check(hits: list[Hit], query: str, homolog: KnownChain) -> None:
    assert [hit.name for hit in hits] == [homolog.name]
    found, true = dict(zip(hits[0].columns.tolist(), hits[0].places.tolist(), strict=True)), expected(len(query))
    right = sum(true.get(column) == place for column, place in found.items())
    assert right > 0.85 * len(true)
    same = [query[column] == homolog.sequence[place] for column, place in found.items()]
    assert hits[0].identity == pytest.approx(np.mean(same))
    assert hits[0].evalue < 1e-10


def test_a_sequence_finds_its_homolog(library: Library, query: str, homolog: KnownChain) -> None:
    check(next(library.sequences.phmmer([("query", query)], 0.01, 1)), query, homolog)
    check(search(library.sequences, Query("query", "", query, "query.fasta: record 1")), query, homolog)


def test_an_alignment_is_searched_as_a_profile(library: Library, query: str, homolog: KnownChain) -> None:
    rows = np.array([[INDEX[letter] for letter in query]] * 3, np.int8)
    rows[1:, 70:80] = GAP  # which HMMER by default would not make match states
    alignment = Alignment(rows, np.zeros(rows.shape, np.int32))
    check(library.sequences.hmmsearch(alignment, 0.01), query, homolog)


def test_a_stranger_finds_nothing(library: Library) -> None:
    query = Query("query", "", "GSGSGSPGTAGSGSPAGTGSGS", "query.fasta: record 1")
    assert search(library.sequences, query) == []


def hit(name: str, columns: range, identity: float) -> Hit:
    places = np.array(columns)
    return Hit(name, places, places, identity, 1e-5)


def test_what_no_template_covers_comes_before_more_of_the_same() -> None:
    hits = [hit("near", range(80), 0.9), hit("alike", range(80), 0.8), hit("end", range(60, 120), 0.7)]
    assert [one.name for one in choose_hits(hits, 120)] == ["near", "end", "alike"]
    assert len(choose_hits([hit(str(k), range(50), 0.5) for k in range(9)], 50)) == 4


domains = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 60)).map(
    lambda run: (np.arange(run[0], run[0] + run[2]), np.arange(run[1], run[1] + run[2]))
)


@given(st.lists(domains, max_size=6))
def test_merged_domains_rise_in_query_and_chain(given_domains: list[tuple[np.ndarray, np.ndarray]]) -> None:
    columns, places = _merge(given_domains)
    assert (np.diff(columns) > 0).all() and (np.diff(places) > 0).all()
    assert len(columns) >= max((len(one) for one, _ in given_domains), default=0)
