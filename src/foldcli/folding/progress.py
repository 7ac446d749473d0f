"""What the user sees while it runs: live bars on a terminal, plain lines in a log."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from foldcli.folding.record import Record


class Watcher(Protocol):
    """Hears of everything that happens in a run."""

    def run_started(self, header: str) -> None: ...

    def job_started(self, name: str, detail: str, passes: int) -> None: ...

    def passed(self, name: str, detail: str) -> None: ...

    def job_ended(self, record: Record, skipped: bool) -> None: ...


class PlainLines:
    """One line for each event."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def run_started(self, header: str) -> None:
        self._print(header)

    def job_started(self, name: str, detail: str, passes: int) -> None:
        self._print(f"{name}: {detail}")

    def passed(self, name: str, detail: str) -> None:
        self._print(f"{name}: {detail}")

    def job_ended(self, record: Record, skipped: bool) -> None:
        self._print(f"{record.job}: {ending(record, skipped)}")

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class LiveBars(PlainLines):
    """A bar for the jobs and one for the present job's passes; a line for each job that ends."""

    def __init__(self, console: Console, bars: Progress, jobs: int) -> None:
        super().__init__(console)
        self.bars = bars
        self.all = bars.add_task("jobs", total=jobs, detail="")
        self.one = bars.add_task("", total=None, detail="", visible=False)

    def job_started(self, name: str, detail: str, passes: int) -> None:
        self.bars.reset(self.one, total=passes, description=name, detail=detail, visible=True)

    def passed(self, name: str, detail: str) -> None:
        self.bars.update(self.one, advance=1, detail=detail)

    def job_ended(self, record: Record, skipped: bool) -> None:
        super().job_ended(record, skipped)
        self.bars.update(self.one, visible=False)
        self.bars.advance(self.all)


def ending(record: Record, skipped: bool) -> str:
    """How a job ended, on one line."""
    if record.status != "done":
        return f"{record.status}: {record.error}"
    scores = f"pLDDT {record.plddt:.1f}" + ("" if record.ptm is None else f", pTM {record.ptm:.2f}")
    mark = ("" if record.depth > 1 else ", single sequence") + ("" if record.trained else ", untrained parameters")
    mark += f", templates {', '.join(record.templates)}" if record.templates else ""
    return f"{scores}{mark} (done before)" if skipped else f"{scores}, {record.seconds:.1f} s{mark}"


@contextlib.contextmanager
def watch(console: Console, jobs: int) -> Iterator[Watcher]:
    """Bars where the console is a terminal, lines where it is not."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[detail]}"), console=console, transient=True) as bars:
        yield LiveBars(console, bars, jobs)
