"""`foldcli fold` of complexes: alignments searched for or given, paired, saved and taken back."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from foldcli.data.features.merge import merged_alignment
from foldcli.data.formats.fasta import read_queries
from tests.cli.conftest import SHORT, Command, results
from tests.data.structures import backbone, pdb
from tests.search.msa_server import COMPLETE, UNIREF, Plan, serving, tar_gz

USUAL = "--model tiny_multimer --weights untrained --num-recycle 0"
FIRST = f">q\n{SHORT}\n>A_HUMAN\n{SHORT[:5]}GGG--\n>A_MOUSE\n-{SHORT[1:]}\n"
SECOND = ">q\nTTCCPS\n>B_HUMAN\nTTC-PS\n>b\n--CCPS\n"


@pytest.fixture
def fold(command: Command, tmp_path: Path) -> Command:
    (tmp_path / "in.fasta").write_text(f">x two and one\n{SHORT}:TTCCPS:{SHORT}\n")
    (tmp_path / "msa").mkdir()
    return partial(command, usual=USUAL)


def test_alignments_are_saved_and_taken_back(fold: Command) -> None:
    Path("msa/x_A.a3m").write_text(FIRST)
    Path("msa/x_B.a3m").write_text(SECOND)
    assert fold("in.fasta", "--msa", "msa", "--out", "out").code == 0
    record = results(Path("out"))["x"]
    assert (record["length"], record["depth"], record["status"]) == (26, 7, "done")
    (saved,) = read_queries(Path("out/x/x.a3m"))
    assert (saved.chains, saved.depth) == ((SHORT, SHORT, "TTCCPS"), 7)  # copies stand together in this form
    assert fold("in.fasta", "--msa", "out/x/x.a3m", "--out", "again").code == 0
    again = results(Path("again"))["x"]
    assert again["key"] == record["key"]
    assert fold("in.fasta", "--msa", "msa", "--pair-mode", "unpaired", "--out", "other").code == 0
    assert results(Path("other"))["x"]["key"] != record["key"]


def test_what_is_searched_is_paired_by_species(fold: Command) -> None:
    first, second = ("MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"[a:] for a in (0, 5))
    second = second[::-1]
    Path("in.fasta").write_text(f">x\n{first}:{second}\n")
    kin = [sequence.replace("K", "R") for sequence in (first, second)]
    Path("db.fasta").write_text(f">r1 OX=9606\n{kin[0]}\n>r2 TaxID=9606\n{kin[1]}\n>r3 OX=1\n{kin[0][9:]}\n")
    assert fold("in.fasta", "--db", "db.fasta", "--msa-only", "--out", "out").code == 0
    (found,) = read_queries(Path("out/x.a3m"))
    assert [one.paired.titles[1] for one in found.msas] == ["r1/1-76 OX=9606", "r2/1-71 TaxID=9606"]
    rows = merged_alignment(found).tokens
    assert (len(rows), found.chains) == (3, (first, second))
    assert np.array_equal(rows[0], merged_alignment(found, "unpaired").tokens[0])


def test_the_servers_pairs_are_saved_and_taken_back(fold: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    other, pairs = "TTCCPS", f">101\n{SHORT}\n>u1\t9\n{SHORT[:-1]}-\n\0>102\n{{}}\n>u2\t8\nTT--PS\n\0"
    found = [{UNIREF: f">101\n{SHORT}\n>u\n-{SHORT[1:]}\n\0"}, {UNIREF: f">101\n{other}\n\0"}]
    archives = [tar_gz(files) for files in (*found, {"pair.a3m": pairs.format(other)})]
    with serving(Plan(submissions=[COMPLETE], states=[COMPLETE], archives=archives)) as plan:
        assert fold("in.fasta", "--msa-mode", "server", "--host-url", plan.url, "--out", "out").code == 0
    assert [form["mode"] for form in plan.forms] == [["env"], ["env"], ["pairgreedy"]]
    (saved,) = read_queries(Path("out/x/x.a3m"))
    first, second = saved.msas
    assert (first.paired.titles, second.paired.titles) == (("101", "u1 9"), ("102", "u2 8"))
    assert (first.unpaired.depth, second.unpaired, saved.notes) == (2, None, ())


def test_species_without_pairs_are_said(fold: Command) -> None:
    Path("in.fasta").write_text(f">x\n{SHORT}:TTCCPS\n")
    Path("msa/x_A.a3m").write_text(FIRST)
    Path("msa/x_B.a3m").write_text(SECOND.replace("HUMAN", "HORSE"))
    outcome = fold("in.fasta", "--msa", "msa", "--out", "out")
    assert outcome.code == 0
    assert "no rows are paired: no species is in the alignments of two of its sequences" in outcome.out


def test_each_chain_is_shown_its_templates(fold: Command) -> None:
    names = "ASN LEU TYR ILE GLN TRP LEU LYS ASP GLY".split()
    Path("a.pdb").write_text(pdb([atom for k, name in enumerate(names, 1) for atom in backbone(name, k)]))
    assert fold("in.fasta", "--template", "a.pdb", "--out", "out").code == 0
    record = results(Path("out"))["x"]
    assert len(record["templates"]) + len(record["notes"]) == 2  # of each sequence one, or why it has none
    assert any("x_B" in note for note in record["notes"])


BAD = {
    "msa/x_D.a3m: x has no chain D; its 3 chains are A to C": ("x_D.a3m", FIRST),
    "msa/x.a3m: line 1 has lengths 10, 5, 15 in all, but row 1 (101) has 16 residues": (
        "x.a3m", f"#10,5\t2,1\n>101\t102\n{SHORT}TTCCPS\n",
    ),
    "msa/x.a3m: row 1 names two sequences '101'; give each": ("x.a3m", f"#10,6\t2,1\n>101\t101\n{SHORT}TTCCPS\n"),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_alignments_that_do_not_fit_are_named(message: str, fold: Command) -> None:
    name, text = BAD[message]
    Path("msa", name).write_text(text)
    outcome = fold("in.fasta", "--msa", "msa", "--out", "out")
    assert (outcome.code, Path("out").exists()) == (2, False)
    assert outcome.error.startswith(f"foldcli: {message}")
