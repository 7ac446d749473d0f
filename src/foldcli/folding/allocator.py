"""Keep the C library from handing memory back between the steps of a fold."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
ONE_GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Let tensors up to 1 GiB take pages that earlier ones have left; true where the C library is glibc.

    glibc returns each large block at once and gets fresh, zeroed pages for the next one: a sixth of a float32 pass on
    the CPU went into page faults.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, musl for one
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, ONE_GIB) and mallopt(M_TRIM_THRESHOLD, 2 * ONE_GIB - 1))
