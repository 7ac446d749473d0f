"""What the user sees while it trains: one live line on a terminal, a line now and then in a log."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

# Seconds between the lines of a log.
PAUSE = 10.0


class Watcher(Protocol):
    """Hears of every step and of what happens between them."""

    def stepped(self, step: int, detail: str) -> None: ...

    def say(self, line: str) -> None: ...


class Lines:
    """Plain lines: every event, and a step every ten seconds."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.steps = steps
        self.last = 0.0

    def stepped(self, step: int, detail: str) -> None:
        if time.monotonic() - self.last >= PAUSE or step == self.steps:
            self.last = time.monotonic()
            self.say(f"step {step}/{self.steps}: {detail}")

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Bar(Lines):
    """A bar with the latest figures and the time left; events stand above it."""

    def __init__(self, console: Console, steps: int, bars: Progress) -> None:
        super().__init__(console, steps)
        self.bars = bars
        self.task: TaskID | None = None

    def stepped(self, step: int, detail: str) -> None:
        if self.task is None:  # a resumed run's time left is of the steps that it takes itself
            self.task = self.bars.add_task("training", total=self.steps, completed=step - 1, detail="")
        self.bars.update(self.task, completed=step, detail=detail)


@contextlib.contextmanager
def watch(console: Console, steps: int) -> Iterator[Watcher]:
    """A bar on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console, steps)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        yield Bar(console, steps, bars)


def describe(figures: Mapping[str, float | str]) -> str:
    """The figures of a step that are shown as it goes."""
    shown = {
        "loss/total": "loss {:.3f}",
        "lddt": "lDDT {:.3f}",
        "samples_per_second": "{:.2f} samples/s",
        "mfu": "MFU {:.1%}",
    }
    return ", ".join(form.format(figures[name]) for name, form in shown.items() if name in figures)
