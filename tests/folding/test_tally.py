"""A run tells what it did itself, whatever another process does to the same folder."""

from dataclasses import replace
from pathlib import Path

from foldcli.folding.progress import Silent
from foldcli.folding.record import Record
from foldcli.folding.results import Results
from foldcli.folding.tally import Tally


class Ended(Silent):
    """Keeps the records of jobs that ended, and what it was told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[str] = []

    def job_ended(self, record: Record, before: bool) -> None:
        self.records.append(record)

    def told(self, name: str, detail: str) -> None:
        self.lines.append(f"{name}: {detail}")


def test_records_of_other_settings_are_not_this_runs(tmp_path: Path) -> None:
    mine, watcher, results = Record("a", "waiting", 10, 1, key="mine"), Ended(), Results(tmp_path)
    done = replace(mine, status="done", plddt=50.0)
    theirs = replace(done, key="theirs", plddt=90.0)
    tally = Tally({"a": mine}, results, watcher)
    results.add([theirs])
    tally.read()
    assert tally.records == {"a": mine} and not watcher.records
    assert watcher.lines == [
        "a: another process folded it with other settings into this folder, which holds its files now"
    ]
    results.add([done])
    tally.read()
    assert tally.records == {"a": done} and watcher.records == [done]
    tally.add([replace(done, job="of another process")])
    results.add([theirs])
    tally.read()
    assert tally.records == {"a": done} and watcher.records == [done]
