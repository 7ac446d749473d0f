"""A3M and Stockholm give the same alignment, alignments go to the right record, and errors are named."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldcli.data.formats.alignment import (
    TOKENS,
    a3m_text,
    deduplicate,
    join_a3m,
    parse_a3m,
    parse_stockholm,
    read_alignment,
)
from foldcli.data.formats.attach import attach_alignments
from foldcli.data.formats.fasta import read_queries
from foldcli.errors import InputError
from foldcli.protein.residues import GAP, INDEX, LETTERS_X

WHERE = Path("file")


@dataclass
class Made:
    """Generated rows: letters, and insertions before each column and after the last."""

    letters: list[str]
    inserted: list[list[str]]

    def a3m(self) -> str:
        lines = []
        for number, (row, between) in enumerate(zip(self.letters, self.inserted, strict=True)):
            *before, behind = between
            lines += [f">row{number}", "".join(map("".join, zip(before, row, strict=True))) + behind]
        return "\n".join(lines) + "\n"

    def stockholm(self, block: int) -> str:
        room = [max(map(len, column)) for column in zip(*self.inserted, strict=True)]
        rows = []
        for row, between in zip(self.letters, self.inserted, strict=True):
            padded = [text.upper().ljust(width, "-") for text, width in zip(between, room, strict=True)]
            rows.append("".join(map("".join, zip(padded, [*row, ""], strict=True))))
        blocks = [
            "\n".join(f"row{number} {row[k : k + block]}" for number, row in enumerate(rows))
            for k in range(0, len(rows[0]), block)
        ]
        return "# STOCKHOLM 1.0\n#=GF ID made up\n\n" + "\n\n".join(blocks) + "\n//\n"


@st.composite
def alignments(draw):
    length, depth = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    row = st.text(LETTERS_X + "BZUJO-", min_size=length, max_size=length)
    letters = [draw(st.text(LETTERS_X, min_size=length, max_size=length))]
    letters += [draw(row) for _ in range(depth - 1)]
    between = st.lists(st.text("acdxz", max_size=3), min_size=length + 1, max_size=length + 1)
    inserted = [[""] * (length + 1)] + [draw(between) for _ in range(depth - 1)]
    return Made(letters, inserted)


@given(made=alignments())
def test_a3m_letters_and_deletions(made):
    rows = parse_a3m(made.a3m(), WHERE)
    assert [row.tobytes().decode() for row in rows.letters] == made.letters
    assert rows.deletions.tolist() == [[len(text) for text in between[:-1]] for between in made.inserted]


@given(made=alignments())
def test_what_is_written_is_read_back(made):
    alignment = deduplicate(parse_a3m(made.a3m(), WHERE)).alignment()
    again = parse_a3m(a3m_text(alignment), WHERE).alignment()
    assert again.titles == alignment.titles
    assert np.array_equal(again.tokens, alignment.tokens)
    assert np.array_equal(again.deletions, alignment.deletions)


@given(made=st.lists(alignments(), min_size=1, max_size=3))
def test_alignments_of_one_query_are_stacked(made):
    query = made[0].letters[0]
    for one in made:
        one.letters[0] = query
    same = [one for one in made if len(one.inserted[0]) == len(query) + 1]
    rows = parse_a3m(join_a3m(query, [one.a3m() + "\0" for one in same]), WHERE)
    letters = [row.tobytes().decode() for row in rows.letters]
    assert letters == [query, *(row for one in same for row in one.letters[1:])]


@given(made=alignments(), block=st.integers(1, 30))
def test_stockholm_says_what_a3m_says(made, block):
    a3m, stockholm = parse_a3m(made.a3m(), WHERE), parse_stockholm(made.stockholm(block), WHERE)
    assert np.array_equal(a3m.letters, stockholm.letters)
    assert np.array_equal(a3m.deletions, stockholm.deletions)


def test_letters_are_read_as_alphafold_reads_them():
    meant = {"B": "D", "J": "X", "O": "X", "U": "C", "Z": "E"}
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        assert TOKENS[ord(letter)] == INDEX[meant.get(letter, letter)]
    assert TOKENS[ord("-")] == GAP
    assert (TOKENS >= 0).sum() == 27


def test_rows_with_equal_columns_are_kept_once(tmp_path):
    path = tmp_path / "a.a3m"
    path.write_text(">q\nACD\n>1\nAkCD\n>2\nA-D\n>3\nAaaaA-\n>4\nAlll-D\n>5\nA-B\n")
    alignment = read_alignment(path, "ACD")
    letters = ["".join((LETTERS_X + "-")[token] for token in row) for row in alignment.tokens]
    assert letters == ["ACD", "A-D", "AA-", "A-D"]  # the last is A-B: equal only in what it stands for
    assert alignment.deletions.tolist() == [[0, 0, 0], [0, 0, 0], [0, 3, 0], [0, 0, 0]]


def test_server_file_with_several_alignments(tmp_path):
    path = tmp_path / "server.a3m"
    path.write_text(">101\nACD\n>hit\nA.-D\n\0>102\nEFG\n\0>101\nACD\n>other\nAKD\n\0")
    assert read_alignment(path, "ACD").tokens.shape == (3, 3)
    assert read_alignment(path, "EFG").depth == 1
    with pytest.raises(InputError, match="holds alignments of 2 queries"):
        read_queries(path)


def test_columns_where_the_query_has_a_gap_are_insertions(tmp_path):
    path = tmp_path / "mafft.a3m"
    path.write_text(">q\n-A-CD--\n>h\nKGKCD-K\n>i\n-AKkk-D--\n")
    alignment = read_alignment(path, "ACD")
    assert a3m_text(alignment) == ">q\nACD\n>h\nxGxCD\n>i\nAxxx-D\n"


def test_rows_of_secondary_structure_are_no_sequences(tmp_path):
    path = tmp_path / "hhblits.a3m"
    path.write_text(">ss_pred PSIPRED\nCHE\n>ss_conf\n901\n>q\nACD\n>h\nA-D\n")
    (query,) = read_queries(path)
    assert (query.sequence, query.alignment.titles) == ("ACD", ("q", "h"))


def test_a_query_with_rare_letters_is_the_record_that_has_them(tmp_path):
    (tmp_path / "seq.fasta").write_text(">one\nAUO\n>two\nACD\n")
    (tmp_path / "a.a3m").write_text(">q\nAUO\n>h\nA-D\n\0>r\nACD*\n>h\nA-D\n")
    assert depths(attach_alignments(read_queries(tmp_path / "seq.fasta"), tmp_path / "a.a3m")) == [2, 2]
    (query,) = attach_alignments(read_queries(tmp_path / "seq.fasta")[:1], tmp_path / "a.a3m")
    assert (query.sequence, query.alignment.tokens[0].tolist()) == ("ACX", [INDEX[letter] for letter in "ACX"])


FAULTS = [
    ("", "a.a3m: is empty"),
    ("ACD\n", "starts with 'ACD'; expected a header line that starts with '>'"),
    ("# only a comment\n", "has no row"),
    (">q\n\n", "row 1 (q), the query, has no sequence"),
    (">q x\n--\n", "row 1 (q), the query, has no sequence"),
    (">ss_pred PSIPRED\nCCC\n", "has no row"),
    (">q\nAkCD\n", "row 1 (q), the query, has an insertion (lower case) at position 2"),
    (">q\nACE\n", "row 1 (q) has 'E' at position 3, which is 'D' in the sequence"),
    (">q\nAC\n", "row 1 (q) has 2 residues, but there are 3 in the sequence"),
    (">q\nACD\n>hit 1\nA-D\n>hit2 x\nAaaC\n", "row 3 (hit2) has 2 columns, the query has 3"),
    (">q\nACD\n>h\n>i\nACD\n", "row 2 (h) has 0 columns, the query has 3"),
    (">q\nACD\n>h\nakA1D\n", "row 2 (h) has '1' at position 4; expected a letter or '-'"),
    (">q\nACD\n>h\nACé\n", "row 2 (h) has 'é' at position 3; expected a letter or '-'"),
    ("#3,5\t1,1\n>q\nACD\n", "is an alignment of a complex; expected that of a single chain"),
    ("#3\t2\n>q\nACD\n", "is an alignment of a complex; expected that of a single chain"),
    ("# STOCKHOLM 1.0\n//\n", "has no row"),
    ("# STOCKHOLM 1.0\nq ---\n//\n", "row 1 (q), the query, has no sequence"),
    ("# STOCKHOLM 1.0\nq ACD\nh AC\n//\n", "row 2 (h) has 2 columns, the query has 3"),
    ("# STOCKHOLM 1.0\nq ACD\nh A*D\n//\n", "row 2 (h) has '*' at position 2; expected a letter or '-'"),
    ("# STOCKHOLM 1.0\nq ACD\nh A C D\n//\n", "line 3 is not a name and a row of letters"),
    ("# STOCKHOLM 1.0\nq ACD\n//\n# STOCKHOLM 1.0\nq ACD\n//\n", "holds more than one Stockholm alignment"),
    (">q\nACF\n\0>r\nACE\n", "none of its 2 alignments is of the sequence"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_are_named(tmp_path, text, message):
    path = tmp_path / "a.a3m"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_alignment(path, "ACD")
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "seq.fasta"
    path.write_text(">one\nACD\n>sp|two\nEFG\n>three\nEFG\n")
    return read_queries(path)


def depths(queries):
    return [query.alignment.depth if query.alignment else 0 for query in queries]


def test_folder_is_matched_by_name(records, tmp_path):
    folder = tmp_path / "msa"
    folder.mkdir()
    (folder / "one.a3m").write_text(">q\nACD\n>h\nA-D\n")
    (folder / "sp_two.sto").write_text("# STOCKHOLM 1.0\nq E-FG\nh EAF-\ni E--G\n//\n")
    (folder / "README").write_text("how these were made")
    queries = attach_alignments(records, folder)
    assert depths(queries) == [2, 3, 0]
    assert queries[1].alignment.deletions.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_folder_for_many_proteins_serves_one(records, tmp_path, caplog):
    for name in ("one", "four", "five"):
        (tmp_path / f"{name}.a3m").write_text(">q\nACD\n>h\nA-D\n")
    assert depths(attach_alignments(records, tmp_path)) == [2, 0, 0]
    assert caplog.messages == [f"{tmp_path}: 2 of 3 alignments are of no record, and left out: five.a3m, four.a3m"]


def test_files_by_number_are_matched_by_sequence(records, tmp_path):
    """As colabfold_search names them."""
    (tmp_path / "0.a3m").write_text("#3\t1\n>101\nEFG\n>h\nE-G\n\0")
    (tmp_path / "1.a3m").write_text("#3\t1\n>101\nACD\n")
    assert depths(attach_alignments(records, tmp_path)) == [1, 2, 2]


def test_folders_of_alphafold_are_joined(records, tmp_path):
    """AlphaFold has NAME/msas, OpenFold NAME, and the folder of one record may be named itself."""
    inside = tmp_path / "one" / "msas"
    inside.mkdir(parents=True)
    (inside / "mgnify_hits.sto").write_text("# STOCKHOLM 1.0\none AC-D\nm ACEE\n//\n")
    (inside / "uniref90_hits.sto").write_text("# STOCKHOLM 1.0\none ACD\nu A-D\n//\n")
    (inside / "bfd_uniref_hits.a3m").write_text(">one\nACD\n>b\nACF\n")
    (inside / "pdb_hits.sto").write_text("not read")
    for folder in (tmp_path, inside):
        queries = attach_alignments(records[:1] if folder == inside else records, folder)
        assert queries[0].alignment.titles == ("one", "u", "b", "m")


def test_file_is_matched_by_sequence(records, tmp_path):
    path = tmp_path / "a.a3m"
    path.write_text(">q\nEFG\n>h\nE-G\n")
    assert depths(attach_alignments(records, path)) == [0, 2, 2]
    assert depths(attach_alignments(records[1:2], path)) == [2]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"four.a3m": ">q\nACD\n"}, "msa: four.a3m: of no record, by name or sequence; there are one, sp_two, three"),
        ({"0.a3m": ">101\nACE\n"}, "msa: 0.a3m: of no record, by name or sequence; there are one, sp_two, three"),
        ({"one.a3m": ">q\nACD\n", "one.sto": ""}, "one.sto: one.a3m is an alignment of the same record"),
        ({"one.a3m": ">q\nACE\n"}, "row 1 (q) has 'E' at position 3, which is 'D' in "),
        ({"one.txt": ">q\nACD\n"}, "the folder has no alignment; expected files named NAME.a3m or NAME.sto"),
    ],
)
def test_folder_faults_are_named(records, tmp_path, files, message):
    folder = tmp_path / "msa"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(InputError) as error:
        attach_alignments(records, folder)
    assert message in str(error.value)


def test_file_of_no_record_and_second_alignment_are_refused(records, tmp_path):
    path = tmp_path / "a.a3m"
    path.write_text(">q\nACD\n")
    with pytest.raises(InputError, match=r"a\.a3m: row 1 \(q\): of no record, by name or sequence; there are sp_two"):
        attach_alignments(records[1:], path)
    with pytest.raises(InputError, match=r"which is 'E' in .*seq\.fasta: record 2"):
        attach_alignments(records[1:2], path)
    with pytest.raises(InputError, match="brings its own alignment; keep one of the two"):
        attach_alignments(read_queries(path), path)
    with pytest.raises(InputError, match="no such file"):
        attach_alignments(records, tmp_path / "nowhere")
