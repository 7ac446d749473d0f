"""Alignments of complexes in one A3M file: read as ColabFold writes them, written so that they are read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldcli.data.features.merge import merged_alignment
from foldcli.data.formats.alignment import a3m_rows
from foldcli.data.formats.complex_a3m import complex_a3m_text, is_complex, parse_complex
from foldcli.data.formats.fasta import read_queries
from foldcli.data.query import Alignment, EntityMsa, Query, lengths_of
from foldcli.errors import InputError
from foldcli.protein.residues import GAP, residue_types

# As ColabFold writes them: the query, a pair, a pair in which the second has no partner, then rows of each.
COLABFOLD = """#4,3\t2,1
>101\t102
MADQLTE
>a1\tb1
MA-QaaLTD
>a2\t-
M-DQ---
>101
MADQ---
>a3 x
kMAD----
>102
----LTE
>b2
-----Tx-
"""


def test_colabfolds_file_is_read(tmp_path):
    (tmp_path / "x.a3m").write_text(COLABFOLD)
    (query,) = read_queries(tmp_path / "x.a3m")
    assert (query.name, query.chains, query.depth) == ("x", ("MADQ", "MADQ", "LTE"), 5)
    first, second = query.msas
    assert a3m_rows(first.paired) == ["MADQ", "MA-Q", "M-DQ"]
    assert a3m_rows(second.paired) == ["LTE", "xxLTD", "---"]
    assert (first.paired.titles, second.paired.titles) == (("101", "a1", "a2"), ("102", "b1", "-"))
    assert a3m_rows(first.unpaired) == ["MADQ", "xMAD-"]
    assert a3m_rows(second.unpaired) == ["LTE", "-Tx-"]
    assert (first.unpaired.titles[1], second.unpaired.titles[1]) == ("a3 x", "b2")
    assert query.notes == ()
    (tmp_path / "x.a3m").write_text(COLABFOLD.replace("MA-QaaLTD", "MA-Q---"))
    assert read_queries(tmp_path / "x.a3m")[0].notes[0].startswith("no rows are paired")


def test_copies_of_one_sequence_and_one_copy(tmp_path):
    (tmp_path / "two.a3m").write_text("#3\t2\n>101\nMAD\n>h\nM-D\n")
    (tmp_path / "one.a3m").write_text("#3\t1\n>101\nMAD\n>h\nM-D\n")
    one, two = read_queries(tmp_path)
    assert (one.chain_lengths, one.alignment.depth, one.msas) == ((), 2, ())
    assert (two.chains, two.alignment) == (("MAD", "MAD"), None)
    assert (a3m_rows(two.msas[0].unpaired), two.msas[0].paired) == (["MAD", "M-D"], None)


LETTERS = "MADQLTE-"


@st.composite
def complexes(draw: st.DrawFn) -> Query:
    """A complex of two or three sequences with alignments, each row once."""
    entities = draw(st.lists(st.text("MADQLTE", min_size=1, max_size=4), min_size=2, max_size=3, unique=True))
    chains = [entity for entity in entities for _ in range(draw(st.integers(1, 2)))]

    def rows(count: int, length: int) -> list[str]:
        return draw(st.lists(st.text(LETTERS, min_size=length, max_size=length), min_size=count, max_size=count))

    pairs = draw(st.integers(0, 4))
    columns = [rows(pairs, len(entity)) for entity in entities]
    together = [row for row in dict.fromkeys(zip(*columns, strict=True)) if set("".join(row)) != {"-"}]
    msas = []
    for k, entity in enumerate(entities):
        paired = [entity, *(row[k] for row in together if row != tuple(entities))]
        alone = dict.fromkeys([entity, *rows(draw(st.integers(0, 3)), len(entity))])
        msas.append(EntityMsa(*map(aligned, ([row for row in alone if set(row) != {"-"}], paired), "up")))
    return Query("q", "q", "".join(chains), "q", chain_lengths=lengths_of(chains), msas=tuple(msas))


def aligned(rows: list[str], prefix: str) -> Alignment | None:
    tokens = np.array([[GAP if letter == "-" else residue_types(letter)[0] for letter in row] for row in rows], np.int8)
    deletions = np.where(np.arange(tokens.size).reshape(tokens.shape) % 3, 0, 2).astype(np.int32)
    deletions[0] = 0
    titles = tuple(f"{prefix}{k}\tx" for k in range(len(rows)))
    return Alignment(tokens, deletions, titles) if len(rows) > 1 else None


@given(query=complexes())
def test_what_was_written_is_read_back(query, tmp_path_factory):
    found = parse_complex(complex_a3m_text(query), tmp_path_factory.getbasetemp() / "q.a3m")
    assert found.chains == query.chains
    again = Query("q", "q", query.sequence, "q", chain_lengths=query.chain_lengths, msas=found.msas)
    assert again.depth == query.depth
    before, after = merged_alignment(query), merged_alignment(again)
    assert np.array_equal(before.tokens, after.tokens)
    assert np.array_equal(before.deletions, after.deletions)


FAULTS = [
    ("#4,3\t1\n>q\nMADQLTE\n", "line 1 is '#4,3\t1'; expected a length and a number of copies for each sequence, such"),
    ("#4,\t1,1\n>q\nMADQ\n", "line 1 is '#4,\t1,1'; expected a length"),
    ("#4,0\t1,1\n>q\nMADQ\n", "line 1 is '#4,0\t1,1'; expected a length"),
    ("#4\t99999999999\n>q\nMADQ\n", "line 1 is of 399999999996 residues in all; at most 100000 are read"),
    ("#4,4\t1,1\n>101\t102\nMADQLTE\n", "line 1 has lengths 4, 4, 8 in all, but row 1 (101) has 7 residues"),
    ("#4,3\t1,1\n>101\t102\nMADQLTE\n>h\nMADQLT\n", "row 2 (h) has 6 columns, the query has 7"),
    ("#4,3\t1,1\n>1\t2\t3\nMADQLTE\n", "row 1 names 3 sequences, line 1 has 2"),
    ("#4,3\t1,1\n>101\t101\nMADQLTE\n", "row 1 names two sequences '101'; give each a name of its own"),
    ("#3,3\t1,1\n>1\t2\nMADMAD\n", "line 1 tells equal sequences apart; give a sequence once, with its number"),
    ("#3,3\t1,1\n", "has no row"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_are_named(tmp_path, text, message):
    path = tmp_path / "x.a3m"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_queries(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "several"), [("#4\t1\n>q", False), ("#4\t2", True), ("\n#4,3\t1,1\n", True), (">q", False)]
)
def test_what_is_a_complex(text, several):
    assert is_complex(text) is several
