"""FASTA: records and names read, and input refused."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foldcli.data.formats.fasta import read_queries
from foldcli.data.formats.input import read_input
from foldcli.data.formats.names import LONGEST, safe_name, unique_names
from foldcli.errors import InputError
from foldcli.protein.residues import LETTERS_X

LETTERS = st.text(LETTERS_X + LETTERS_X.lower(), min_size=1, max_size=150).filter(lambda text: set(text) - {*"Xx"})
SEQUENCES = st.lists(LETTERS, min_size=1, max_size=6)


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
        (b">a\nAC\n>b x\nAC\nD1E\n", "record 2 (b x) has '1' at position 4; expected one of the 20 amino acids, B, J,"),
        (b">a\nAC*D*\n", "record 1 (a) has '*' at position 3; a stop: take it out"),
        (b">a\n*\n", "record 1 (a) has no sequence"),
        (b">a\nXjO\n", "record 1 (a) has only X; give at least one residue that is known"),
        (b">a\nA-D\n", "record 1 (a) has '-' at position 2; a gap: take it out"),
        (b">\nAC1\n", "record 1 (no name) has '1' at position 3; expected"),
        (">a\nacſ\n".encode(), "record 1 (a) has 'ſ' at position 3; expected"),
        (b">a\nACD:A1D\n", "record 1 (a): chain B has '1' at position 2; expected one of the 20 amino acids"),
        (b">a\nACD:xxX:AC\n", "record 1 (a): chain B has only X; give at least one residue that is known"),
        (b">a\nACD::AC\n", "record 1 (a): chain B has no sequence: ':' joins two chains; take it out, or give"),
        (b">a\nACD:\n", "record 1 (a): chain B has no sequence: ':' joins two chains"),
        (b">a\n:*\n", "record 1 (a): chain A has no sequence: ':' joins two chains"),
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


def test_rare_letters_and_a_stop_are_folded_as_what_they_stand_for(tmp_path):
    path = tmp_path / "seq.fasta"
    path.write_text(">u\nMADQuTEEQO*\n>b\nBZJB\n>plain\nMAD\n")
    queries = read_queries(path)
    assert [query.sequence for query in queries] == ["MADQCTEEQX", "DEXD", "MAD"]
    assert queries[0].notes == (
        "O at position 10 is folded as X", "U at position 5 is folded as C",
        "X at position 10 is unknown: it has no coordinates", "the * at the end, a stop, is left out",
    )  # fmt: skip
    assert queries[1].notes[0] == "B at positions 1, 4 is folded as D"
    assert queries[2].notes == ()


def test_a_warning_says_what_looks_like_dna(tmp_path, caplog):
    path = tmp_path / "seq.fasta"
    path.write_text(">gene x\nacgtACGTacgtN\n>peptide\nAGAGAGAGAGAG\n")
    notes = [query.notes for query in read_queries(path)]
    assert notes[0][0].startswith("looks like DNA or RNA") and notes[1] == ()
    assert [message.partition(" looks")[0] for message in caplog.messages] == [f"{path}: record 1 (gene x)"]


def test_headers_behind_blanks(tmp_path):
    path = tmp_path / "seq.fasta"
    path.write_text("  >a b\n  MADQ\n LTEEQI\n\t>c\nAC\n")
    assert [(query.title, query.sequence) for query in read_queries(path)] == [("a b", "MADQLTEEQI"), ("c", "AC")]


def test_csv_has_a_record_on_each_line(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('\ufeffID, sequence\nprotA, MADQ\n"b, c",acd\n\n', encoding="utf-8")
    assert [(query.name, query.title, query.sequence) for query in read_queries(path)] == [
        ("protA", "protA", "MADQ"), ("b", "b, c", "ACD"),
    ]  # fmt: skip
    path.write_text("protA,MADQ\n")
    with pytest.raises(InputError, match="line 1 is no header with the columns id and sequence"):
        read_queries(path)


def test_chains_of_a_complex(tmp_path):
    (tmp_path / "b.csv").write_text("id,sequence\ndimer,MAU:mau\n")
    (tmp_path / "a.fasta").write_text(">one x\nMADQ:\nLTE\nEQ:MADX*\n>two\nMADQ\n")
    first, alone, dimer = read_queries(tmp_path)
    assert (first.sequence, first.chains) == ("MADQLTEEQMADX", ("MADQ", "LTEEQ", "MADX"))
    assert first.notes == (
        "chain C: X at position 4 is unknown: it has no coordinates", "chain C: the * at the end, a stop, is left out",
    )  # fmt: skip
    assert (alone.chain_lengths, alone.chains) == ((), ("MADQ",))
    assert (dimer.name, dimer.chains) == ("dimer", ("MAC", "MAC"))
    assert dimer.notes == tuple(f"chain {name}: U at position 3 is folded as C" for name in "AB")
    assert [query.chains for query in read_input("MADQ:LTE")] == [("MADQ", "LTE")]
    for written in ("", "MADQ1", "madq"):
        with pytest.raises(InputError, match=r"empty|no such file, and no sequence of capital one-letter codes"):
            read_input(written)


def test_hidden_files_are_passed_over(tmp_path):
    (tmp_path / "a.fasta").write_text(">a\nAC\n")
    (tmp_path / "._a.fasta").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    assert [query.name for query in read_queries(tmp_path)] == ["a"]


def test_all_bad_records_are_named_at_once_and_can_be_left_out(tmp_path, caplog):
    path = tmp_path / "seq.fasta"
    path.write_text(">a\nAC1\n>b\nACD\n>c\n\n>d\nACE\n")
    with pytest.raises(InputError) as error:
        read_queries(path)
    assert str(error.value) == (
        f"2 of 4 records cannot be folded: (1) {path}: record 1 (a) has '1' at position 3; expected one of the 20 "
        f"amino acids, B, J, O, U, X or Z; (2) {path}: record 3 (c) has no sequence; --skip-bad folds the others"
    )
    assert [query.name for query in read_queries(path, skip_bad=True)] == ["b", "d"]
    assert caplog.messages[1] == f"{path}: record 3 (c) has no sequence; left out"
    path.write_text(">a\nAC1\n")
    with pytest.raises(InputError, match="has '1' at position 3"):
        read_queries(path, skip_bad=True)
