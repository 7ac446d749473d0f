"""Python, the processor, memory and disks."""

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from foldcli import __version__
from foldcli.byte_units import GIB
from foldcli.cache_folder import cache_folder
from foldcli.doctor.finding import Finding
from foldcli.weights.cache import PRESETS, find

OLDEST_PYTHON = (3, 11)
# Instruction sets: the kernel's name in /proc/cpuinfo -> the usual name.
INSTRUCTIONS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16",
    "asimd": "NEON", "bf16": "NEON bf16",
}  # fmt: skip
# Bytes below which the doctor warns: memory of a small fold, shared memory of a training run's data loader, and disk
# space of AlphaFold's archive together with what is unpacked from it.
LITTLE_MEMORY, LITTLE_SHARED, WEIGHTS = 2 * GIB, GIB, 11 * GIB


def interpreter() -> Iterator[Finding]:
    old = sys.version_info < OLDEST_PYTHON
    advice = "foldcli needs Python 3.11 or newer" if old else ""
    found = f"{platform.python_version()} at {sys.executable}, foldcli {__version__}"
    yield Finding("Python", found, advice, broken=old)


def processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = _instructions(Path("/proc/cpuinfo"))
    slow = known and not any("bf16" in name for name in known)
    advice = "no bf16 in hardware: --precision bf16 saves memory here, and costs time" if slow else ""
    yield Finding("processor", ", ".join([f"{cores} cores", platform.machine(), *known]), advice)


def _instructions(cpuinfo: Path) -> list[str]:
    """The processor's instruction sets that matter here; none where the system has no such file."""
    with contextlib.suppress(OSError, StopIteration):
        lines = cpuinfo.read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features"))).split()
        return [name for flag, name in INSTRUCTIONS.items() if flag in flags]
    return []


def memory() -> Iterator[Finding]:
    """Free memory of the host, and of /dev/shm, which containers often make too small."""
    import torch

    from foldcli.doctor.capacity import longest_fold
    from foldcli.system_memory import available_bytes

    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = available_bytes(torch.device("cpu")) or total
    advice = "little is free: end other programs, or fold on another machine" if free < LITTLE_MEMORY else ""
    yield Finding("memory", f"{free / GIB:.1f} of {total / GIB:.1f} GiB free; {longest_fold(free, 4)}", advice)
    with contextlib.suppress(FileNotFoundError):
        shared = shutil.disk_usage("/dev/shm")
        advice = "small: training and --gpus N need more (docker run --shm-size 8g)"
        found = f"{shared.free / GIB:.1f} of {shared.total / GIB:.1f} GiB free"
        yield Finding("/dev/shm", found, advice if shared.free < LITTLE_SHARED else "")


def disks() -> Iterator[Finding]:
    """Whether the cache and the working folder can be written to, and their free space."""
    cache, complete = cache_folder(), all(find(preset) for preset in PRESETS)
    yield _disk("cache", cache, "set FOLDCLI_HOME to a folder that you can write to", 0 if complete else WEIGHTS)
    yield _disk("working folder", Path.cwd(), "name another one for results with --out", 0)


def _disk(what: str, folder: Path, elsewhere: str, wanted: int) -> Finding:
    present = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(present).free
    advice = ""
    if not (present.is_dir() and os.access(present, os.W_OK | os.X_OK)):
        advice = f"cannot be written to: {elsewhere}"
    elif free < wanted:
        advice = f"too little for AlphaFold's parameters, which take {wanted // GIB} GiB while unpacked: {elsewhere}"
    return Finding(what, f"{folder}, {free / GIB:.1f} GiB free", advice)
