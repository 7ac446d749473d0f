"""`foldcli data`: training reads what the commands write, and they report what they leave out."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foldcli.cli.main import run
from foldcli.config import SourceConfig
from foldcli.data.training.open_source import open_source
from tests.cli.conftest import Outcome
from tests.data.structures import backbone, mmcif, pdb

CONSTRUCT = ["ALA", "MSE", "GLY", "SER"]
Data = Callable[..., Outcome]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Data:
    """Run `foldcli data` in a folder with two good structures, a truncated one, and one alignment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    atoms = [atom for label in (1, 2, 4) for atom in backbone(CONSTRUCT[label - 1], label)]
    Path("structures").mkdir()
    Path("structures/1abc.cif").write_text(mmcif(CONSTRUCT, atoms))
    Path("structures/2abc.cif").write_text(mmcif(CONSTRUCT[:2], atoms[:8], "2abc"))
    Path("structures/3abc.cif").write_text(mmcif(CONSTRUCT, atoms)[:-90])
    Path("structures/4abc.pdb").write_text(pdb(backbone("TRP", 1)))
    Path("alignments/1abc_B").mkdir(parents=True)
    Path("alignments/1abc_B/uniref90_hits.a3m").write_text(">q\nAMGS\n>r\nAAGS\n")

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["foldcli", "data", *arguments])
        try:
            run()
        except SystemExit as end:
            return Outcome(int(end.code or 0), *capfd.readouterr())
        raise AssertionError("the command did not end")

    return call


@pytest.mark.parametrize("workers", ["1", "2"])
def test_index(workers, data):
    outcome = data("index", "--structures", "structures", "--alignments", "alignments", "--workers", workers)
    assert outcome.code == 0
    assert "structures/3abc.cif: is no mmCIF file, or was cut" in outcome.err
    assert "read 3 of 3 files" in outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("index.json: 2 chains in 2 clusters (by shared words")
    assert lines[1] == "3 files; 1 could not be read, 0 have no protein with a backbone"
    assert lines[2].startswith("1 chains have alignments, 0 take those of a chain with their sequence, 1 have none")
    assert lines[3] == "the default filters leave out: none"
    source = open_source(SourceConfig("openfold", "structures", "alignments", "index.json"))
    assert [source.load(k).sequence for k in range(2)] == ["AMGS", "AM"]


def test_chains(data):
    Path("clusters.txt").write_text("1abc_B 2abc_B\n")
    outcome = data("chains", "structures", "-o", "c.npz", "--alignments", "alignments", "--clusters", "clusters.txt",
                   "--workers", "1")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "c.npz: 3 chains in 2 clusters (of clusters.txt; 1 chains that it does not name are alone)",
        "4 files; 1 could not be read, 0 have no protein with a backbone",
        "2 chains have no alignment: their profile is their sequence",
    ]
    source = open_source(SourceConfig(shards="c.npz", max_share=1))
    chain = source.load(0)
    assert (chain.name, chain.sequence, chain.resolution) == ("1abc_B", "AMGS", 2.5)
    assert chain.profile[1, [0, 12]] == pytest.approx(np.array([0.5, 0.5]), abs=0.01)
    assert [entry.released for entry in source.entries] == ["2008-02-05", "2008-02-05", ""]


def test_a_chain_that_two_files_hold_is_taken_once(data):
    atoms = [atom for label in (1, 2) for atom in backbone(CONSTRUCT[label - 1], label)]
    Path("structures/1abc.pdb").write_text(pdb(atoms))
    Path("structures/new").mkdir()
    shutil.copy("structures/1abc.cif", "structures/new")
    for command in (["chains", "structures", "-o", "c.npz"],
                    ["index", "--structures", "structures", "--alignments", "alignments"]):  # fmt: skip
        outcome = data(*command, "--workers", "1")
        assert (outcome.code, "chains are in several files and taken from the first: 1abc_B" in outcome.out) == (
            0,
            True,
        )
    chains = open_source(SourceConfig(shards="c.npz", max_share=1))
    assert sorted(entry.name for entry in chains.entries) == ["1abc_B", "2abc_B", "4abc_B"]
    assert chains.load(0).sequence == "AMGS"
    indexed = open_source(SourceConfig("openfold", "structures", "alignments", "index.json"))
    assert sorted(entry.name for entry in indexed.entries) == ["1abc_B", "2abc_B"]


@pytest.mark.parametrize(
    "command", ["chains structures", "library c.npz", "relatives c.npz", "index --structures a --alignments b"]
)
def test_a_file_that_cannot_be_written_is_named_before_the_work(command, data):
    for name, reason in {"none/x.npz": "there is no folder none; make it", "structures": "is a folder"}.items():
        outcome = data(*command.split(), "-o", name)
        assert outcome.code == 2
        assert outcome.err.startswith(f"foldcli: {name}: {reason}")
        assert outcome.err.count("\n") == 1


def test_nothing_left_is_exit_code_1(data):
    for name in ("1abc.cif", "2abc.cif", "4abc.pdb"):
        Path("structures", name).unlink()
    outcome = data("chains", "structures", "--workers", "1")
    assert outcome.code == 1
    assert "foldcli: no chain was found in 1 files, 1 of which are unreadable" in outcome.err
    assert not Path("chains.npz").exists()


USAGE = {
    "nowhere: no such folder": ["chains", "nowhere"],
    "alignments: has no structure; expected files that end in .cif": ["chains", "alignments"],
    "none: no such folder": ["index", "--structures", "structures", "--alignments", "none"],
    "none.txt: no such file": ["chains", "structures", "--workers", "1", "--clusters", "none.txt"],
}


@pytest.mark.parametrize("message", USAGE)
def test_bad_usage_is_named(message, data):
    outcome = data(*USAGE[message])
    assert outcome.code == 2
    assert f"foldcli: {message}" in outcome.err
