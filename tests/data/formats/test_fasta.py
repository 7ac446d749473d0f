"""FASTA: records and names read, and input refused."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foldcli.data.formats.fasta import read_queries
from foldcli.data.formats.names import LONGEST, safe_name, unique_names
from foldcli.errors import InputError
from foldcli.protein.residues import LETTERS_X

SEQUENCES = st.lists(st.text(LETTERS_X + LETTERS_X.lower(), min_size=1, max_size=150), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("inputs")


@given(sequences=SEQUENCES, width=st.integers(1, 80), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_fasta_round_trip(folder, sequences, width, end):
    lines = []
    for number, sequence in enumerate(sequences):
        lines += [f">r{number} a protein", "", *(sequence[k : k + width] for k in range(0, len(sequence), width))]
    path = folder / "round.fasta"
    path.write_bytes(end.join(lines).encode())

    queries = read_queries(path)

    assert [query.sequence for query in queries] == [sequence.upper() for sequence in sequences]
    assert [query.name for query in queries] == [f"r{number}" for number in range(len(sequences))]
    assert queries[-1].title == f"r{len(sequences) - 1} a protein"
    assert queries[-1].source == f"{path}: record {len(sequences)}"


@given(titles=st.lists(st.text(max_size=150), max_size=12))
@example(titles=["--out", "-", ".-_x"])
def test_names_are_safe_and_unique(titles):
    names = unique_names([safe_name(title, "record") for title in titles])
    assert len({name.casefold() for name in names}) == len(titles)
    for name in names:
        assert set(name) <= set(string.ascii_letters + string.digits + "._-")
        assert 1 <= len(name) <= LONGEST
        assert name[0].isalnum()  # else hidden, or taken for an option


def test_names_that_collide_are_all_kept(tmp_path):
    path = tmp_path / "seq.fasta"
    path.write_text(">sp|P1|A x\nAC\n>sp/P1/A\nAD\n>a\nAE\n>a_2\nAF\n>A\nAG\n>\nAH\n>../../etc/passwd\nAI\n")
    queries = read_queries(path)
    assert [query.name for query in queries] == [
        "sp_P1_A", "sp_P1_A_2", "a", "a_2", "A_3", "record_6", "etc_passwd",
    ]  # fmt: skip
    assert [query.sequence for query in queries] == ["AC", "AD", "AE", "AF", "AG", "AH", "AI"]


def test_folder_of_inputs_in_order_of_file_names(tmp_path):
    (tmp_path / "b.fa").write_text(">one\nACD\n")
    (tmp_path / "a.fasta").write_text(">one\nAC\n>two\nAD\n")
    (tmp_path / "c.a3m").write_text("#3\t1\n>101\nACX\n>hit\nA-dC\n")
    (tmp_path / "notes.txt").write_text("not an input")
    queries = read_queries(tmp_path)
    assert [(query.name, query.sequence) for query in queries] == [
        ("one", "AC"), ("two", "AD"), ("one_2", "ACD"), ("c", "ACX"),
    ]  # fmt: skip
    assert [query.alignment.depth if query.alignment else 0 for query in queries] == [0, 0, 0, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "seq.fasta: no such file"),
        (b"", "seq.fasta: is empty"),
        (b"\n \r\n", "seq.fasta: is empty"),
        (b"\x1f\x8b\x08\x00", "seq.fasta: is compressed; unpack it first"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "seq.fasta: is not a text file"),
        (b"ACDE\n>a\nAC\n", "seq.fasta: starts with 'ACDE'; expected a header line that starts with '>'"),
        (b">a\nAC\n>b\n\n>c\nAC", "seq.fasta: record 2 (b) has no sequence"),
        (b">a\nAC\n>b x\nAC\nDbE\n", "record 2 (b x) has 'B' at position 4; expected one of the 20 amino acids or X"),
        (b">a\nACD*\n", "record 1 (a) has '*' at position 4; a stop: take it out"),
        (b">a\nA-D\n", "record 1 (a) has '-' at position 2; a gap: take it out"),
        (b">\nAC1\n", "record 1 (no name) has '1' at position 3; expected"),
        (">a\nacſ\n".encode(), "record 1 (a) has 'ſ' at position 3; expected"),
        (b">a\nACD:ACD\n", "record 1 (a) joins chains by ':'; complexes are not supported yet"),
    ],
)  # fmt: skip
def test_refused_by_name(tmp_path, content, message):
    path = tmp_path / "seq.fasta"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_queries(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_folder_without_inputs_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"the folder has no input; expected files that end in \.fasta, \.fa"):
        read_queries(tmp_path)
