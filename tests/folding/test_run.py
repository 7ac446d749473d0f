"""A run tells what it did itself, whatever another process does to the same folder."""

from dataclasses import replace

from foldcli.folding.progress import Silent
from foldcli.folding.record import Record
from foldcli.folding.run import _announced


class Ended(Silent):
    """Keeps the records of jobs that ended."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def job_ended(self, record: Record, before: bool) -> None:
        self.records.append(record)


def test_records_of_other_settings_are_not_this_runs() -> None:
    mine, watcher = Record("a", "waiting", 10, 1, key="mine"), Ended()
    done = replace(mine, status="done", plddt=50.0)
    theirs = replace(done, key="theirs", plddt=90.0)
    assert _announced({"a": mine}, {"a": theirs}, watcher) == {"a": mine} and not watcher.records
    assert _announced({"a": mine}, {"a": done}, watcher) == {"a": done} and watcher.records == [done]
    assert _announced({"a": done}, {"a": theirs}, watcher) == {"a": done} and watcher.records == [done]
