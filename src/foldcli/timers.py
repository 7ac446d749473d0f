"""How long each phase of a job or training step takes."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Timers:
    """Seconds of each phase, by name; a phase that is timed again adds up.

    age: seconds that had gone by when the timers were made, for `add_rest`.
    """

    def __init__(self, age: float = 0.0) -> None:
        self.seconds: dict[str, float] = {}
        self.began = time.perf_counter() - age

    def add_rest(self, name: str) -> None:
        """Add what is of no phase yet, so that the phases sum to the time since the timers' beginning."""
        self.add(name, time.perf_counter() - self.began - sum(self.seconds.values()))

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of the block."""
        start = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - start)

    def timed_items(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items, adding the time that an iterator takes to make each, and not what is done with it."""
        while True:
            with self.timed(name):
                item = next(items, None)
            if item is None:
                return
            yield item


def process_age() -> float:
    """Seconds since this process was started; 0 if the system does not say."""
    try:
        started = int(Path("/proc/self/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return 0.0
