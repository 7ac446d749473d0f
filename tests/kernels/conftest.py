"""Settings of the kernel tests."""

from collections.abc import Iterator

import pytest

from foldcli.ops import dispatch


@pytest.fixture(autouse=True)
def _fresh_choice() -> Iterator[None]:
    """Clear what the dispatcher remembers, before and after each test."""
    dispatch._decisions.clear()
    dispatch._warned.clear()
    yield
    dispatch._decisions.clear()
    dispatch._warned.clear()
