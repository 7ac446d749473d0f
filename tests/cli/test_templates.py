"""`foldcli fold` with a library of known folds: what is shown to the model, and said of it."""

from pathlib import Path

import pytest

from foldcli.search.chains import KnownChain, read_chains
from foldcli.search.library import write_library
from tests.cli.conftest import Command, results
from tests.search.conftest import SHARD

TAKES = "model.library=true"


@pytest.fixture
def known(tmp_path: Path) -> KnownChain:
    """One of the chains in the library `known folds.npz`; the file `query.fasta` has half of it, with a tail."""
    chains = read_chains([SHARD])
    write_library(tmp_path / "known folds.npz", chains, (), 10**6)
    (tmp_path / "query.fasta").write_text(f">q\n{chains[0].sequence[:40]}GSGSGSGSGS\n")
    return chains[0]


def test_a_fold_says_which_known_chains_it_was_shown(command: Command, known: KnownChain) -> None:
    outcome = command("query.fasta", "--library", "known folds.npz", "--out", "out", TAKES)
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
    outcome = command("query.fasta", "--library", "known folds.npz", "--out", "out")
    assert outcome.code == 2
    assert outcome.error.endswith("--library known folds.npz: tiny is shown no templates; leave the option out")
    assert command("query.fasta", "--out", "out").code == 0
    assert results(Path("out"))["q"]["templates"] == []


def test_what_is_no_library_is_refused_before_any_work(command: Command, known: KnownChain) -> None:
    outcome = command("query.fasta", "--library", SHARD, "--out", "out", TAKES)
    assert outcome.code == 2 and "has no array 'steps'" in outcome.error
    assert not Path("out").exists()
