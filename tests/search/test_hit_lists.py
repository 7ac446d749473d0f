"""Hit lists are read as written; errors name file and place."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldcli.errors import InputError
from foldcli.search.hit_lists import ListedHit, read_lists

letters = st.sampled_from("ACDEFGHIKLMNPQRSTVWY")
pairs = st.lists(
    st.one_of(st.tuples(letters, letters), st.tuples(letters, st.just("-")), st.tuples(st.just("-"), letters)),
    min_size=1, max_size=200,
).filter(lambda columns: any(a != "-" for a, _ in columns) and any(b != "-" for _, b in columns))  # fmt: skip


@st.composite
def listed(draw: st.DrawFn) -> ListedHit:
    query, known = ("".join(row) for row in zip(*draw(pairs), strict=True))
    name = draw(st.from_regex(r"[0-9][A-Z0-9]{3}_[A-Za-z0-9]{1,3}", fullmatch=True))
    return ListedHit(
        name, draw(st.floats(1e-50, 1e4).map(lambda x: float(f"{x:.2g}"))), draw(st.integers(0, 900)), query, known
    )


def hhr(hits: list[ListedHit], query: str = "query") -> str:
    """A list as hhsearch writes it, with alignments in blocks of 80 columns."""
    lines = [f"Query         {query} some words", "Match_columns 1000", "", " No Hit      Prob E-value", ""]
    for number, hit in enumerate(hits, 1):
        scores = f"Probab=9.5  E-value={hit.evalue:.2g}  Score=1.0  Aligned_cols=3  Sum_probs={1000 - number}.5"
        lines += [f"No {number}", f">{hit.name} some protein; X-RAY", scores, ""]
        ends = [hit.first, 30]
        for start in range(0, len(hit.query), 80):
            rows = [row[start : start + 80] for row in (hit.query, hit.known)]
            for k, (kind, name, row) in enumerate(zip("QT", (query, hit.name), rows, strict=True)):
                first, ends[k] = ends[k] + 1, ends[k] + len(row.replace("-", ""))
                lines.append(f"{kind} ss_pred             {'H' * len(row)}")
                lines.append(f"{kind} {name:<14} {first:4} {row} {ends[k]:4} (1000)")
                lines.append(f"{kind} Consensus      {first:4} {row.lower()} {ends[k]:4} (1000)")
            lines += [f"Confidence            {'3' * len(rows[0])}", "", ""]
    return "\n".join([*lines, "Done!", ""])


@given(st.lists(listed(), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_hhsearch_writes_is_read_back(tmp_path: Path, hits: list[ListedHit]) -> None:
    (tmp_path / "q.hhr").write_text(hhr(hits))
    assert read_lists(tmp_path / "q.hhr") == {"": hits}


@given(listed())
def test_pairs_are_the_columns_without_a_gap(hit: ListedHit) -> None:
    columns, residues = hit.pairs()
    query, known = hit.query.replace("-", ""), hit.known.replace("-", "")
    both = [(a, b) for a, b in zip(hit.query, hit.known, strict=True) if "-" not in (a, b)]
    assert [(query[c - hit.first], known[r]) for c, r in zip(columns, residues, strict=True)] == both
    assert (np.diff(columns) > 0).all() and (np.diff(residues) > 0).all()


def row(query: str, known: str, evalue: str = "1e-20") -> str:
    return f"{query}\t{known}\t0.5\t90\t40\t2\t1\t90\t3\t92\t{evalue}\t120\t90M\n"


def test_an_m8_belongs_to_records_by_name_where_it_has_several(tmp_path: Path) -> None:
    one = tmp_path / "one.m8"
    one.write_text(row("101", "1abc_A") + row("101", "2xyz_B", "3e-5"))
    assert read_lists(one) == {"": [ListedHit("1abc_A", 1e-20), ListedHit("2xyz_B", 3e-5)]}
    one.write_text(row("a", "1abc_A") + row("b", "2xyz_B"))
    assert read_lists(one) == {"a": [ListedHit("1abc_A", 1e-20)], "b": [ListedHit("2xyz_B", 1e-20)]}


def test_a_folder_belongs_to_records_by_file_name(tmp_path: Path) -> None:
    (tmp_path / "first.m8").write_text(row("101", "1abc_A"))
    (tmp_path / "second.hhr").write_text(hhr([ListedHit("2xyz_B", 1e-5, 3, "AC-", "A-C")]))
    assert read_lists(tmp_path) == {
        "first": [ListedHit("1abc_A", 1e-20)], "second": [ListedHit("2xyz_B", 1e-5, 3, "AC-", "A-C")]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.hhr", "no hits here\n", "has no line 'Query NAME'"),
        ("a.hhr", hhr([ListedHit("1abc_A", 1.0, 0, "ACDEF", "ACDEF")] * 2)[:-120], "hit 2 has no whole alignment"),
        ("a.m8", row("q", "1abc_A") + "q\t1abc_A\n", "line 2 is no hit (2 columns)"),
        ("a.m8", row("q", "1abc_A", "small"), "line 1 is no hit (could not convert"),
        ("a.txt", "hits\n", "expected a file that ends in .hhr or .m8"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as refused:
        read_lists(tmp_path / name)
    assert str(refused.value).startswith(str(tmp_path / name)) and reason in str(refused.value)
