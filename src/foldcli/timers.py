"""How long each phase of a job takes."""

import contextlib
import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Timers:
    """Seconds by the name of the phase; one that comes again adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the time of a block."""
        start = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - start)

    def making(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items, counting the time that each takes to be made and none of what is done with it."""
        while True:
            with self.timed(name):
                item = next(items, None)
            if item is None:
                return
            yield item
