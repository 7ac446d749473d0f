"""`foldcli fold` with the library of known structures: what the model is shown, and what is reported."""

from pathlib import Path

import pytest

from foldcli.search.chains import KnownChain, read_chains
from foldcli.search.library import write_library
from tests.cli.conftest import Command, results
from tests.search.conftest import SHARD
from tests.search.test_own_templates import OTHER, SEQUENCE, entry

TAKES = "model.library=true"


@pytest.fixture
def known(tmp_path: Path) -> KnownChain:
    """One of the chains in the library `known structures.npz`; the file `query.fasta` has half of it, with a tail."""
    chains = read_chains([SHARD])
    write_library(tmp_path / "known structures.npz", chains, (), 10**6)
    (tmp_path / "query.fasta").write_text(f">q\n{chains[0].sequence[:40]}GSGSGSGSGS\n")
    return chains[0]


def test_a_fold_says_which_known_chains_it_was_shown(command: Command, known: KnownChain) -> None:
    outcome = command("query.fasta", "--library", "known structures.npz", "--out", "out", TAKES)
    assert outcome.code == 0
    assert "q: 50 residues, single sequence (no alignment), 1 template, tiny seed 0" in outcome.err.splitlines()
    with_template = results(Path("out"))["q"]
    (said,) = with_template["templates"]
    assert said.startswith(f"{known.name} (identity 100%, coverage 8") and "E-value" in said
    assert said in outcome.err
    for suffix in ("cif", "pdb"):
        (path,) = Path("out/q").glob(f"*.{suffix}")
        assert known.name in path.read_text()

    alone = command("query.fasta", "--no-templates", "--out", "out", TAKES)
    assert known.name not in alone.err
    without = results(Path("out"))["q"]
    assert without["templates"] == [] and without["key"] != with_template["key"]
    assert without["plddt"] != with_template["plddt"]


def test_a_model_that_does_not_ask_is_shown_nothing(command: Command, known: KnownChain) -> None:
    outcome = command("query.fasta", "--library", "known structures.npz", "--out", "out")
    assert outcome.code == 2
    assert outcome.error.endswith("--library known structures.npz: tiny is shown no templates; leave the option out")
    assert command("query.fasta", "--out", "out").code == 0
    assert results(Path("out"))["q"]["templates"] == []


def test_what_is_no_library_is_refused_before_any_work(command: Command, known: KnownChain) -> None:
    outcome = command("query.fasta", "--library", SHARD, "--out", "out", TAKES)
    assert outcome.code == 2 and "has no array 'steps'" in outcome.error
    assert not Path("out").exists()


def test_structures_of_ones_own_are_shown_and_the_others_named(command: Command) -> None:
    Path("query.fasta").write_text(f">q\n{SEQUENCE}GSGSG\n")
    Path("my structure.cif").write_text(entry())
    Path("other.cif").write_text(entry(OTHER))
    named = ("query.fasta", "--template", "my structure.cif", "--template", "other.cif", "--out", "out")
    outcome = command(*named)
    assert outcome.code == 0
    record = results(Path("out"))["q"]
    (said,) = record["templates"]
    assert said.startswith("my structure_B (identity 100%, coverage 86%, E-value ") and said in outcome.err
    assert record["notes"] == ["template not used: other.cif: no chain of it aligns to q with an E-value up to 0.01"]
    assert record["notes"][0] in outcome.out
    assert "my structure_B" in next(Path("out/q").glob("*.cif")).read_text()

    assert "(done before)" in command(*named).err
    Path("my structure.cif").write_text(entry(SEQUENCE[2:]))
    assert "(done before)" not in command(*named).err
    changed = results(Path("out"))["q"]
    assert changed["key"] != record["key"] and changed["plddt"] != record["plddt"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--template none.cif", "--template none.cif: no such file or folder"),
        ("--template mine.cif --no-templates", "--template mine.cif: tiny is shown no templates; leave the option out"),
        ("--template mine.cif --library x.npz", "--library x.npz: templates are named as well"),
        ("--template mine.cif --max-template-date 2018-4-30", "--max-template-date 2018-4-30: no date as YYYY-MM-DD"),
        ("--max-template-date 2020-13-45", "--max-template-date 2020-13-45: no date as YYYY-MM-DD"),
        ("--max-template-date 2018-04-30", "--max-template-date is for --template and --template-hits"),
        ("--template-hits hits.m8", "--template-hits and --template-dir go together"),
        ("--template-hits hits.m8 --template-dir none", "--template-dir none: no such folder"),
        ("--template-hits none.hhr --template-dir .", "none.hhr: no such file"),
    ],
)
def test_templates_that_cannot_be_are_refused_before_any_work(command: Command, options: str, reason: str) -> None:
    Path("query.fasta").write_text(f">q\n{SEQUENCE}\n")
    Path("mine.cif").write_text(entry())
    Path("hits.m8").write_text("")
    outcome = command("query.fasta", "--out", "out", *options.split())
    assert outcome.code == 2 and reason in outcome.error
    assert not Path("out").exists()
