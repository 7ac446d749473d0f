"""The files of a job are written while the next one is folded, and a job is done once they are whole."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from foldcli.folding import predictor, run
from foldcli.folding.record import Record
from tests.cli.conftest import Command, results

PATIENCE = 60.0  # seconds, in which the other thread gets on with it on any machine
pytestmark = pytest.mark.usefixtures("unchecked_shapes")


@pytest.fixture
def second_begun(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the second job is being folded; until then the first job's last file waits to be written."""
    begun, predict, write_record = threading.Event(), predictor.predict, run.write_folded.__globals__["write_record"]

    def begin(*arguments: object) -> object:
        if arguments[1].name == "b":
            begun.set()
        return predict(*arguments)

    def hold(folder: Path, record: Record) -> None:
        assert begun.wait(PATIENCE)
        write_record(folder, record)

    monkeypatch.setattr(predictor, "predict", begin)
    monkeypatch.setitem(run.write_folded.__globals__, "write_record", hold)
    return begun


def events_of(text: str) -> list[tuple[str, str]]:
    """Job and kind of each event of a job."""
    return [(event["job"], event["event"]) for event in map(json.loads, text.splitlines()) if "job" in event]


def test_the_next_job_begins_before_the_files_are_whole(
    command: Command, fasta: Path, second_begun: threading.Event
) -> None:
    outcome = command(fasta, "--out", "out", "--json")
    assert outcome.code == 0 and second_begun.is_set()
    events = events_of(outcome.out)
    assert events.index(("b", "job_started")) < events.index(("a", "job_ended")) < events.index(("b", "job_ended"))


def test_a_job_whose_files_cannot_be_written_fails_alone(
    command: Command, fasta: Path, second_begun: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse(*paths: str) -> None:
        if second_begun.is_set() and ".a.part" in str(paths[1]):
            raise OSError(28, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(os, "replace", refuse)
    outcome = command(fasta, "--out", "out", "--json")
    assert outcome.code == 1
    found = results(Path("out"))
    assert (found["a"]["status"], found["b"]["status"]) == ("failed", "done")
    assert "disk full; free some space" in found["a"]["error"] and not Path("out/a").exists()


@pytest.mark.parametrize("second", [KeyboardInterrupt, IndexError])
def test_what_was_folded_is_written_whatever_ends_the_next_fold(
    command: Command, fasta: Path, second_begun: threading.Event, monkeypatch: pytest.MonkeyPatch,
    second: type[BaseException],
) -> None:  # fmt: skip
    begin: Callable[..., object] = predictor.predict

    def ending(*arguments: object) -> object:
        made = begin(*arguments)
        if second_begun.is_set():
            raise second
        return made

    monkeypatch.setattr(predictor, "predict", ending)
    outcome = command(fasta, "--out", "out", "--json")
    assert outcome.code == (130 if second is KeyboardInterrupt else 1)
    found = results(Path("out"))
    assert (found["a"]["status"], found["b"]["status"]) == (
        "done", "interrupted" if second is KeyboardInterrupt else "failed"
    )  # fmt: skip
    assert ("a", "job_ended") in events_of(outcome.out)
    assert not list(Path("out").glob(".*.part")) and all(
        (Path("out/a") / name).is_file() for name in found["a"]["files"]
    )
