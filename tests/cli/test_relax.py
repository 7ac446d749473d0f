"""`foldcli fold --relax` relaxes what is asked for, or says why not."""

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command, results


def test_without_openmm_nothing_is_begun(command: Command, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pdbfixer", None)
    outcome = command(fasta, "--out", "out", "--relax", "best")
    assert outcome.code == 2 and outcome.error == (
        "foldcli: --relax best: pdbfixer is not installed; pip install 'foldcli[relax]'"
    )
    assert not Path("out").exists()
    assert command(fasta, "--out", "out").code == 0


def test_the_table_says_what_became_of_each(command: Command, fasta: Path) -> None:
    outcome = command(fasta, "--out", "out", "--relax", "all", "--num-seeds", "2")
    assert outcome.code == 0
    for job, record in results(Path("out")).items():
        assert [note.split(" relaxed: ")[0].removesuffix(" not") for note in record["notes"]] == ["rank 1", "rank 2"]
        assert all(note in outcome.out for note in record["notes"])
        relaxed = [name for name in record["files"] if name.startswith(f"{job}_relaxed_rank_")]
        assert len(relaxed) == 2 * sum(" not relaxed: " not in note for note in record["notes"])
        assert len([name for name in record["files"] if "_unrelaxed_rank_" in name]) == 4
