"""Captures are made without shape checks; shapes are checked by other tests."""

from collections.abc import Iterator

import pytest

from tests.conftest import without_shape_checks


@pytest.fixture(autouse=True, scope="module")
def unchecked_captures() -> Iterator[None]:
    with without_shape_checks():
        yield
