"""Settings that every test shares."""

import os

# Before anything imports triton: its kernels then run on CPU tensors.
os.environ.setdefault("TRITON_INTERPRET", "1")
# Before torch loads OpenMP: on a busy machine threads that wait by spinning cost ten times the work.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from hypothesis import settings

# Timings on a shared machine are noise; what is too slow shows in the suite's own time.
settings.register_profile("foldcli", deadline=None)
settings.load_profile("foldcli")
