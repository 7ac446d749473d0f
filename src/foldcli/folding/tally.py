"""The records of a run's jobs: into the tables, and to the watcher, as jobs end."""

import threading
from collections.abc import Iterable

from foldcli.folding.progress import Watcher
from foldcli.folding.record import Record
from foldcli.folding.results import Results


class Tally:
    """The newest record of each job of this run, by name; threads may share it.

    Records of another process, which folds into the same folder with other settings, are not this run's.
    """

    def __init__(self, records: dict[str, Record], results: Results, watcher: Watcher) -> None:
        self.records = records
        self._results = results
        self._watcher = watcher
        self._lock = threading.Lock()

    def add(self, records: Iterable[Record]) -> None:
        """Write the records into the tables, then tell of the jobs that ended; FoldcliError if that fails."""
        with self._lock:
            self._tell(self._results.add(records))

    def read(self) -> None:
        """Take from the tables what other processes have added, and tell of that."""
        with self._lock:
            known = self._results.read()
            for name in [name for name, record in self.records.items() if known[name].key != record.key]:
                how = "another process folded it with other settings into this folder, which holds its files now"
                self._watcher.told(name, how)
            self._tell(known)

    def _tell(self, known: dict[str, Record]) -> None:
        before = self.records
        self.records = {name: known[name] if known[name].key == one.key else one for name, one in before.items()}
        for name, record in self.records.items():
            if record != before[name] and record.status in ("done", "failed"):
                self._watcher.job_ended(record, False)
