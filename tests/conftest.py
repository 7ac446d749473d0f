"""Settings that every test shares."""

import contextlib
import os
from collections.abc import Iterator

# Before anything imports triton: its kernels then run on CPU tensors.
os.environ.setdefault("TRITON_INTERPRET", "1")
# Before torch loads OpenMP: on a busy machine threads that wait by spinning cost ten times the work.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import jaxtyping
import pytest
from hypothesis import settings

# Timings on a shared machine are noise; what is too slow shows in the suite's own time.
settings.register_profile("foldcli", deadline=None)
settings.load_profile("foldcli")


@contextlib.contextmanager
def without_shape_checks() -> Iterator[None]:
    """No jaxtyping inside the block: in a capture for AutoChunk it reads thousands of shapes, each a symbol."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    with without_shape_checks():
        yield
