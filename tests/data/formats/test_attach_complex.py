"""Alignments of complexes from files and folders: matched to chains, paired, refused by name."""

from pathlib import Path

import pytest

from foldcli.data.formats.alignment import a3m_rows
from foldcli.data.formats.attach import attach_alignments
from foldcli.data.formats.fasta import read_queries
from foldcli.errors import InputError

FIRST = ">q\nMADQ\n>sp|P11111|A_HUMAN\nMA-Q\n>UniRef90_X Tax=Mouse TaxID=10090\nMAD-\n"
SECOND = ">q\nLTE\n>B_HUMAN\nL-E\n>b OX=10090\nLT-\n>c\n-TE\n"
COLABFOLD = "#4,3\t1,1\n>101\t102\nMADQLTE\n>a\tb\nMA-QL-E\n>101\nMADQ---\n>102\n----LTE\n>c\n-----TE\n"
STOCKHOLM = "# STOCKHOLM 1.0\n#=GS h/1-3 DE [subseq from] protein TaxID=10090\nq MADQ\nh/1-3 MA-Q\n//\n"


@pytest.fixture
def records(tmp_path: Path):
    """A complex of three chains, two of them equal, and a single chain."""
    (tmp_path / "in.fasta").write_text(">x\nMADQ:LTE:MADQ\n>y\nMADQ\n")
    return read_queries(tmp_path / "in.fasta")


def folder(tmp_path: Path, **files: str) -> Path:
    """A folder of these files; the names have `__` for `/` and end in the suffix."""
    for name, text in files.items():
        path = tmp_path / "msa" / name.replace("__", "/").replace("_sto", ".sto").replace("_a3m", ".a3m")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "msa"


def rows(query) -> list[list[str]]:
    """Each sequence's own rows, and those that are paired."""
    found = [alignment for one in query.msas for alignment in (one.unpaired, one.paired)]
    return [a3m_rows(alignment)[1:] if alignment else [] for alignment in found]


PAIRED_BY_SPECIES = [["MA-Q", "MAD-"], ["MA-Q", "MAD-"], ["L-E", "LT-", "-TE"], ["L-E", "LT-"]]


def test_files_of_each_chain_are_paired_by_species(records, tmp_path):
    (x, y) = attach_alignments(records, folder(tmp_path, x_A_a3m=FIRST, x_B_a3m=SECOND, y_a3m=FIRST))
    assert (rows(x), x.notes, y.alignment.depth) == (PAIRED_BY_SPECIES, (), 3)


def test_alphafolds_folder_is_paired_by_its_uniprot_hits(records, tmp_path):
    path = folder(
        tmp_path, A__uniref90_hits_sto=STOCKHOLM, A__uniprot_hits_a3m=FIRST,
        B__bfd_uniref_hits_a3m=">q\nLTE\n>h\nLLE\n", B__uniprot_hits_a3m=SECOND,
    )  # fmt: skip
    expected = [["MA-Q"], PAIRED_BY_SPECIES[1], ["LLE"], PAIRED_BY_SPECIES[3]]
    (x,) = attach_alignments(records[:1], path)
    assert rows(x) == expected
    (tmp_path / "all" / "x").mkdir(parents=True)
    path.rename(tmp_path / "all" / "x" / "msas")
    (x, y) = attach_alignments(records, tmp_path / "all")
    assert (rows(x), y.is_aligned) == (expected, False)


def test_uniprot_and_paired_files(records, tmp_path):
    path = folder(tmp_path, x_A_sto=STOCKHOLM, x_A_uniprot_a3m=FIRST, x_B_a3m=SECOND)
    assert rows(attach_alignments(records, path)[0])[:2] == [["MA-Q"], ["MA-Q", "MAD-"]]
    # row by row, whatever the species; a row that comes twice in both is taken once
    two = ">q\nLTE\n>k\n---\n>z\n-TE\n>z\n-TE\n"
    folder(tmp_path, x_A_paired_a3m=FIRST + ">r\nMAD-\n", x_B_paired_a3m=two)
    (tmp_path / "msa" / "x_A_uniprot.a3m").unlink()
    assert rows(attach_alignments(records, path)[0])[1::2] == [["MA-Q", "MAD-"], ["---", "-TE"]]


def test_species_of_stockholm_files_stand_beside_the_rows(records, tmp_path):
    (x, _) = attach_alignments(records, folder(tmp_path, x_A_sto=STOCKHOLM, x_B_a3m=SECOND))
    assert rows(x)[1::2] == [["MA-Q"], ["LT-"]]


@pytest.mark.parametrize("second", [">q\nLTE\n>h\nL-E\n", ">q\nLTE\n>B_HORSE\nL-E\n"])
def test_what_has_no_partner_is_said(records, tmp_path, second):
    (x, _) = attach_alignments(records, folder(tmp_path, x_A_a3m=FIRST, x_B_a3m=second))
    assert rows(x)[3] == ["---", "---"]  # only the copies of the first sequence are paired
    assert len(x.notes) == 1
    assert x.notes[0].startswith("no rows are paired: no species is in the alignments of two of its sequences, or ")


def test_one_file(records, tmp_path):
    path = tmp_path / "a.a3m"
    path.write_text(COLABFOLD)
    expected = [[], ["MA-Q"], ["-TE"], ["L-E"]]
    assert rows(attach_alignments(records[:1], path)[0]) == expected
    path.write_text(f"{COLABFOLD}\0{FIRST}")
    (x, y) = attach_alignments(records, path)
    assert (rows(x), y.alignment.depth) == (expected, 3)
    path.write_text(f"{FIRST}\0{SECOND}")
    assert rows(attach_alignments(records[:1], path)[0]) == PAIRED_BY_SPECIES
    # colabfold_search numbers its files
    path = folder(tmp_path, **{"0_a3m": COLABFOLD})
    assert rows(attach_alignments(records, path)[0]) == expected


def test_copies_of_one_sequence_have_its_alignment(tmp_path):
    (tmp_path / "in.fasta").write_text(">x\nMADQ:MADQ\n")
    queries = read_queries(tmp_path / "in.fasta")
    for name in ("x_a3m", "x_A_a3m", "A__mgnify_hits_a3m", "uniref90_hits_a3m"):
        path = folder(tmp_path / name, **{name: FIRST})
        assert rows(attach_alignments(queries, path)[0]) == [["MA-Q", "MAD-"], []], name


FAULTS = {
    "x_D.a3m: x has no chain D; its 3 chains are A to C": {"x_D_a3m": FIRST},
    "x_C.a3m: x_A.a3m is of the same sequence, of chain A and C; keep one": {"x_A_a3m": FIRST, "x_C_a3m": FIRST},
    "x_A.sto: x_A.a3m is of the same sequence, of chain A; keep one": {"x_A_a3m": FIRST, "x_A_sto": STOCKHOLM},
    "x_A.a3m: x.a3m is an alignment of the same record; keep one": {"x_A_a3m": FIRST, "x_a3m": COLABFOLD},
    "x_B.a3m: row 1 (q) has 'M' at position 1, which is 'L' in chain B of ": {"x_B_a3m": FIRST},
    "x_A_paired.a3m: its rows are paired with those of x_B_paired.a3m, which is not there": {"x_A_paired_a3m": FIRST},
    "x_B_paired.a3m: has 4 rows, and x_A_paired.a3m, whose rows they go with one by one, 3; rows of files named x_": {
        "x_A_paired_a3m": FIRST, "x_B_paired_a3m": SECOND,
    },
    "x.a3m: is the alignment of another complex than ": {"x_a3m": COLABFOLD.replace("LTE\n>a", "LTQ\n>a")},
    "x.a3m: has alignments of 3 different sequences, but ": {"x_a3m": "#4,3,2\t1,1,1\n>1\t2\t3\nMADQLTEKV\n"},
    "x.a3m: none of its 1 alignments is of ": {"x_a3m": ">q\nKVK\n"},
    "y.a3m: is an alignment of a complex; expected that of a single chain": {"y_a3m": COLABFOLD},
}  # fmt: skip


@pytest.mark.parametrize("message", FAULTS)
def test_what_does_not_fit_is_refused_by_name(records, tmp_path, message):
    path = folder(tmp_path, **FAULTS[message])
    with pytest.raises(InputError) as error:
        attach_alignments(records, path)
    assert str(error.value).startswith(f"{path}/{message}")
    assert "\n" not in str(error.value)


def test_a_complex_with_its_own_alignment_takes_no_other(tmp_path):
    (tmp_path / "x.a3m").write_text(COLABFOLD)
    with pytest.raises(InputError, match="row 1 brings its own alignment; keep one of the two"):
        attach_alignments(read_queries(tmp_path / "x.a3m"), tmp_path / "x.a3m")


def test_a_chain_without_an_alignment_has_its_sequence_alone(records, tmp_path):
    query, _ = attach_alignments(records, folder(tmp_path, x_A_a3m=FIRST))
    assert rows(query)[0] == ["MA-Q", "MAD-"] and rows(query)[2] == []
    assert "chain B: no alignment, its sequence alone" in query.notes
