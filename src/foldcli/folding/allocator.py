"""Keep the C library from handing memory back between the steps of a fold."""

import ctypes
import sys
from typing import Any

from foldcli.byte_units import GIB, MIB

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Let tensors up to 1 GiB take pages that earlier ones have left; true where the C library is glibc.

    glibc returns each large block at once and gets fresh, zeroed pages for the next one: a sixth of a float32 pass on
    the CPU went into page faults. Blocks of many sizes leave gaps: the peak was up to 1.7 times as high.
    """
    mallopt = _of_glibc("mallopt")
    return bool(mallopt and mallopt(M_MMAP_THRESHOLD, GIB) and mallopt(M_TRIM_THRESHOLD, 2 * GIB - 1))


def return_freed_memory() -> None:
    """Hand back what was kept, and from now on every tensor's pages at once; nothing where there is no glibc."""
    mallopt, trim = _of_glibc("mallopt"), _of_glibc("malloc_trim")
    if mallopt and trim:
        mallopt(M_MMAP_THRESHOLD, MIB)
        mallopt(M_TRIM_THRESHOLD, MIB)
        trim(0)


def _of_glibc(name: str) -> Any:
    """A function of the C library; None where it has no such one, as musl has not."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
