"""Progress of a search, and its cancellation."""

from typing import Protocol


class Stopped(Exception):
    """Raised in a search whose run has ended."""


class SearchProgress(Protocol):
    """Called with what a search does, and the fraction done if known; raises Stopped to cancel the search."""

    def __call__(self, detail: str, share: float | None = None) -> None: ...
