"""`foldcli fold` that searches for alignments, in databases and on a local server."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foldcli.folding import predictor
from tests.cli.conftest import Command, results
from tests.search.msa_server import COMPLETE, UNIREF, Plan, serving, tar_gz

QUERY = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
KIN = QUERY.replace("K", "R")
STRANGER = "TTCCPSIVARSNFNVCRLPGTPEAICATYTGCIIIPGATCPGDYAN"


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path) -> None:
    """`in.fasta` with a protein that has homologs in `db.fasta` and one that has none."""
    (tmp_path / "in.fasta").write_text(f">kin\n{QUERY}\n>alone\n{STRANGER}\n")
    (tmp_path / "db.fasta").write_text(f">r1\nGGS{KIN}\n>r2\n{KIN[10:40]}DDD{KIN[40:]}\n>other\n{QUERY[::-1]}\n")


def structures(out: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path(out).glob("*/*.pdb"))]


def test_a_database_gives_alignments_that_are_kept_and_taken_back(command: Command) -> None:
    before = set(threading.enumerate())
    outcome = command("in.fasta", "--db", "db.fasta", "--out", "out")
    assert outcome.code == 0
    for thread in set(threading.enumerate()) - before:  # those that search and write end with their work
        thread.join(60)
    assert set(threading.enumerate()) <= before
    assert "kin: 76 residues, alignment of 3 sequences, tiny seed 0" in outcome.err.splitlines()
    assert "alone: 46 residues, single sequence (no alignment), tiny seed 0" in outcome.err.splitlines()
    assert {name: record["depth"] for name, record in results(Path("out")).items()} == {"kin": 3, "alone": 1}
    rows = Path("out/kin/kin.a3m").read_text().splitlines()
    assert rows[:4] == [">query", QUERY, ">r1/4-79", KIN]
    assert rows[5] == "-" * 10 + KIN[10:40] + "ddd" + KIN[40:]

    Path("msa").mkdir()
    for name in ("kin", "alone"):
        shutil.copy(f"out/{name}/{name}.a3m", "msa")
    assert command("in.fasta", "--msa", "msa", "--out", "again").code == 0
    assert structures("again") == structures("out")
    assert Path("again/alone/alone.a3m").read_text() == f">query\n{STRANGER}\n"
    # no search for a query with an alignment
    assert ["{eddy2011," in Path(out, "kin/cite.bibtex").read_text() for out in ("out", "again")] == [True, False]


def test_alignments_are_searched_here_and_folded_there(command: Command) -> None:
    Path("in.fasta").write_text(f">kin of a title\n{QUERY}\n>alone\n{STRANGER}\n")
    usual = "--model tiny --weights untrained --num-recycle 0"
    outcome = command("in.fasta", "--db", "db.fasta", "--msa-only", "--out", "msas", usual="--model model_1_ptm")
    assert (outcome.code, "msas/kin.a3m" in outcome.out) == (0, True)
    assert sorted(path.name for path in Path("msas").iterdir()) == ["alone.a3m", "kin.a3m"]
    assert Path("msas/kin.a3m").read_text().splitlines()[:2] == [">kin of a title", QUERY]
    assert command("msas", "--out", "there", usual=usual).code == 0
    assert command("in.fasta", "--db", "db.fasta", "--out", "here", usual=usual).code == 0
    assert structures("there") == structures("here")
    assert command("in.fasta", "--msa-only", "--out", "none").error == (
        "foldcli: --msa-only: nothing is searched; name a database with --db, or take --msa-mode server"
    )


def test_a_search_is_repeated_only_if_its_database_is_another(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def done(*arguments: str) -> tuple[int, int]:
        """How many jobs were searched for, and how many folded."""
        err = command("in.fasta", "--out", "out", *arguments).err
        return err.count(": searching "), err.count(" pass 0: moved")

    monkeypatch.setattr("foldcli.folding.progress.SEARCH_LINE_EVERY", 0.0)
    assert done("--db", "db.fasta") == (2, 2)
    assert done("--db", "db.fasta") == (0, 0)
    shutil.copy("db.fasta", "copy.fasta")
    assert done("--db", "copy.fasta") == (0, 0)
    assert done("--db", "copy.fasta", "--random-seed", "1") == (0, 2)
    Path("copy.fasta").write_text(f">r1\n{KIN}\n")
    assert done("--db", "copy.fasta") == (2, 2)
    assert done("--db", "copy.fasta", "msa_rounds=2") == (2, 2)
    assert done("--msa-mode", "none") == (0, 2)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("foldcli.search.server.Deadlines.pause", 0.01)
    with serving(Plan(archive=tar_gz({UNIREF: f">101\n{QUERY}\n>hit\n{KIN}\n"}))) as plan:
        yield plan


def test_a_server_is_asked_for_the_next_job_while_one_is_folded(
    command: Command, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, seen = predictor.predict, []

    def waiting(*arguments: object) -> object:
        until = time.monotonic() + 10
        while len(plan.paths) < 7 and time.monotonic() < until:  # four for the first job, which waits, three more
            time.sleep(0.01)
        seen.append(len(plan.paths))
        return predict(*arguments)

    monkeypatch.setattr(predictor, "predict", waiting)
    Path("in.fasta").write_text(f">kin\n{QUERY}\n>liar\n{QUERY[:-1]}\n")
    outcome = command("in.fasta", "--msa-mode", "server", "--host-url", plan.url, "sort=none", "--out", "out")
    assert outcome.code == 1
    assert seen == [7]
    found = results(Path("out"))
    assert (found["kin"]["status"], found["kin"]["depth"]) == ("done", 2)
    assert "{mirdita2022," in Path("out/kin/cite.bibtex").read_text()
    assert found["liar"]["status"] == "failed"
    assert "uniref.a3m: is the alignment of another sequence than the one sent; try again" in found["liar"]["error"]
    plan.archive, plan.states = tar_gz({UNIREF: f">101\n{QUERY[:-1]}\n"}), [COMPLETE]
    again = command("in.fasta", "--msa-mode", "server", "--host-url", plan.url, "sort=none", "--out", "out")
    assert again.code == 0 and len(plan.forms) == 3


def test_what_cannot_be_searched_is_refused_before_any_work(command: Command) -> None:
    Path("note.txt").write_text("Dear reader,\n")
    outcome = command("in.fasta", "--db", "note.txt", "--out", "out")
    assert (outcome.code, Path("out").exists()) == (2, False)
    assert outcome.error.endswith("--db note.txt: line 1: starts with 'Dear reader,'; expected FASTA, with a header "
                                  "line that starts with '>'")  # fmt: skip
    Path("db.fasta").write_text(">b\nAC-D\n")  # seen when it is read
    outcome = command("in.fasta", "--db", "db.fasta", "--out", "out")
    assert outcome.code == 1
    assert {record["error"] for record in results(Path("out")).values()} == {
        "db.fasta: line 2 has '-' at position 3; expected a letter"
    }


def test_records_of_a_database_that_cannot_be_read_are_counted(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    Path("db.fasta").write_text(f">bad\nAC1D\n>r1\n{KIN}\n")
    assert command("in.fasta", "--db", "db.fasta", "--out", "out").code == 0
    assert {name: record["depth"] for name, record in results(Path("out")).items()} == {"kin": 2, "alone": 1}
    assert caplog.messages[0] == (
        "db.fasta: 1 records passed over; the first: db.fasta: line 2 has '1' at position 3; expected a letter"
    )
