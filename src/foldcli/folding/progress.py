"""Progress of a run: live bars on a terminal, plain lines in a log, or JSON lines."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from foldcli.folding.record import Record

SEARCH_LINE_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class Pass:
    """One recycling pass of a model over a job."""

    model: str
    seed: int
    number: int  # 0 for the first
    moved: float  # root mean square change of CA distances since the pass before, angstrom
    seconds: float

    def __str__(self) -> str:
        return f"{self.model} seed {self.seed} pass {self.number}: moved {self.moved:.2f} A, {self.seconds:.1f} s"


class Watcher(Protocol):
    """Is told of every event of a run, by several threads.

    A job ends once its files are whole, which may be after the start of the next job.
    """

    def run_started(self, header: str, jobs: int) -> None: ...

    def searching(self, name: str, detail: str, share: float | None) -> None: ...

    def searched(self, name: str, detail: str) -> None: ...

    def job_started(self, name: str, detail: str, passes: int) -> None: ...

    def passed(self, name: str, done: Pass) -> None: ...

    def told(self, name: str, detail: str) -> None: ...

    def job_ended(self, record: Record, skipped: bool) -> None: ...


class Silent:
    """A watcher that does nothing."""

    def run_started(self, header: str, jobs: int) -> None: ...

    def searching(self, name: str, detail: str, share: float | None) -> None: ...

    def searched(self, name: str, detail: str) -> None: ...

    def job_started(self, name: str, detail: str, passes: int) -> None: ...

    def passed(self, name: str, done: Pass) -> None: ...

    def told(self, name: str, detail: str) -> None: ...

    def job_ended(self, record: Record, skipped: bool) -> None: ...


class PlainLines:
    """Prints one line for each event."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.next_search_line = 0.0

    def run_started(self, header: str, jobs: int) -> None:
        self._print(f"{header}: {jobs} job{'s' * (jobs > 1)}")

    def searching(self, name: str, detail: str, share: float | None) -> None:
        if time.monotonic() >= self.next_search_line:
            self._print(f"{name}: {detail}")
            self.next_search_line = time.monotonic() + SEARCH_LINE_EVERY

    def searched(self, name: str, detail: str) -> None:
        self._print(f"{name}: {detail}")

    def job_started(self, name: str, detail: str, passes: int) -> None:
        self._print(f"{name}: {detail}")

    def passed(self, name: str, done: Pass) -> None:
        self._print(f"{name}: {done}")

    def told(self, name: str, detail: str) -> None:
        self._print(f"{name}: {detail}")

    def job_ended(self, record: Record, skipped: bool) -> None:
        self._print(f"{record.job}: {ending(record, skipped)}")

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveBars(PlainLines):
    """Shows a bar for the jobs and one for the passes of the current job; prints a line for each finished job."""

    def __init__(self, console: Console, bars: Progress) -> None:
        super().__init__(console)
        self.bars = bars
        self.all = bars.add_task("jobs", total=None, detail="")
        self.search = bars.add_task("", total=None, detail="", visible=False)
        self.one = bars.add_task("", total=None, detail="", visible=False)
        self.folded = ""  # the job whose passes are shown

    def run_started(self, header: str, jobs: int) -> None:
        super().run_started(header, jobs)
        self.bars.update(self.all, total=jobs)

    def searching(self, name: str, detail: str, share: float | None) -> None:
        total, done = (None, 0) if share is None else (100, int(100 * share))
        self.bars.update(self.search, description=name, detail=detail, total=total, completed=done, visible=True)

    def searched(self, name: str, detail: str) -> None:
        super().searched(name, detail)
        self.bars.update(self.search, visible=False)

    def job_started(self, name: str, detail: str, passes: int) -> None:
        self.folded = name
        self.bars.reset(self.one, total=passes, description=name, detail=detail, visible=True)

    def passed(self, name: str, done: Pass) -> None:
        self.bars.update(self.one, advance=1, detail=str(done))

    def job_ended(self, record: Record, skipped: bool) -> None:
        super().job_ended(record, skipped)
        if record.job == self.folded:  # else the next one is being folded already
            self.bars.update(self.one, visible=False)
        self.bars.advance(self.all)


class JsonLines:
    """Writes each event as a JSON object on a line of its own; its key `event` names the kind."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def run_started(self, header: str, jobs: int) -> None:
        self._write("run_started", {"header": header, "jobs": jobs})

    def searching(self, name: str, detail: str, share: float | None) -> None:
        self._write("searching", {"job": name, "detail": detail, "share": share})

    def searched(self, name: str, detail: str) -> None:
        self._write("searched", {"job": name, "detail": detail})

    def job_started(self, name: str, detail: str, passes: int) -> None:
        self._write("job_started", {"job": name, "detail": detail, "passes": passes})

    def passed(self, name: str, done: Pass) -> None:
        self._write("passed", {"job": name, **asdict(done)})

    def told(self, name: str, detail: str) -> None:
        self._write("told", {"job": name, "detail": detail})

    def job_ended(self, record: Record, skipped: bool) -> None:
        self._write("job_ended", {**asdict(record), "skipped": skipped})

    def run_ended(self, records: Sequence[Record]) -> None:
        """The final records, in the order of the input."""
        self._write("run_ended", {"records": [asdict(record) for record in records]})

    def _write(self, event: str, values: dict[str, Any]) -> None:
        self.file.write(json.dumps({"event": event, **values}) + "\n")  # one call: searches have a thread of their own
        self.file.flush()


def ending(record: Record, skipped: bool) -> str:
    """A job's scores, or why it has none, as one line."""
    if record.status != "done":
        return f"{record.status}: {record.error}"
    if record.plddt is None:
        return f"alignment of {record.depth:,} sequence{'s' * (record.depth > 1)} written"
    scores = f"pLDDT {record.plddt:.1f}" + ("" if record.ptm is None else f", pTM {record.ptm:.2f}")
    scores += "" if record.iptm is None else f", ipTM {record.iptm:.2f}"
    mark = ("" if record.depth > 1 else ", single sequence") + ("" if record.trained else ", untrained parameters")
    mark += f", templates {', '.join(record.templates)}" if record.templates else ""
    return f"{scores}{mark} (done before)" if skipped else f"{scores}, {record.seconds:.1f} s{mark}"


@contextlib.contextmanager
def watch(console: Console) -> Iterator[Watcher]:
    """Live bars if the console is a terminal, else plain lines."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[detail]}"), console=console, transient=True) as bars:
        yield LiveBars(console, bars)
