"""How long each phase of a job or training step takes."""

import contextlib
import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Timers:
    """Seconds of each phase, by name; a phase that is timed again adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

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
