"""Progress of a training run: a bar on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

# Seconds between lines about steps.
INTERVAL = 10.0


class Watcher(Protocol):
    """Is told of every step, and of events between steps."""

    def stepped(self, step: int, detail: str) -> None: ...

    def say(self, line: str) -> None: ...


class PlainLines:
    """A line for every event, and for a step every ten seconds."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.steps = steps
        self.last = 0.0

    def stepped(self, step: int, detail: str) -> None:
        if time.monotonic() - self.last >= INTERVAL or step == self.steps:
            self.last = time.monotonic()
            self.say(f"step {step}/{self.steps}: {detail}")

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class ProgressBar(PlainLines):
    """A bar with the latest figures and the remaining time; events are printed above it."""

    def __init__(self, console: Console, steps: int, bars: Progress) -> None:
        super().__init__(console, steps)
        self.bars = bars
        self.task: TaskID | None = None

    def stepped(self, step: int, detail: str) -> None:
        if self.task is None:  # created late: the remaining time of a resumed run must come from its own steps
            self.task = self.bars.add_task("training", total=self.steps, completed=step - 1, detail="")
        self.bars.update(self.task, completed=step, detail=detail)


@contextlib.contextmanager
def watch(console: Console, steps: int) -> Iterator[Watcher]:
    """A bar on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield PlainLines(console, steps)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        yield ProgressBar(console, steps, bars)


def describe(figures: Mapping[str, float | str]) -> str:
    """The figures of a step that are shown during training."""
    shown = {
        "loss/total": "loss {:.3f}",
        "lddt": "lDDT {:.3f}",
        "samples_per_second": "{:.2f} samples/s",
        "mfu": "MFU {:.1%}",
    }
    return ", ".join(form.format(figures[name]) for name, form in shown.items() if name in figures)
