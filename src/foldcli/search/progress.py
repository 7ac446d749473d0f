"""How a search tells of its progress, and hears that nobody waits for it any more."""

from typing import Protocol


class Stopped(Exception):
    """The run that a search was for is over."""


class SearchProgress(Protocol):
    """Hears in words how far a search is, and which share of it is done where that is known; raises Stopped."""

    def __call__(self, detail: str, share: float | None = None) -> None: ...
