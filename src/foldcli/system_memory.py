"""Memory of this machine: what is free for this process, and what it takes."""

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

# Of a control group, version 2 and 1: where groups lie, then the files of its limit and use, and the key in memory.stat
# of the files that it has cached and the system may drop.
GROUPS_2 = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
GROUPS_1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

# From torch's allocator; from oneDNN, which gives no reason: what we call of it fails for lack of memory only; from the
# CUDA runtime and driver, Triton and cuBLAS. Triton's "out of resource" is a kernel too large for the chip, whatever
# is free.
NO_MEMORY = (
    "allocate memory", "could not create a primitive", "could not execute a primitive",
    "CUDA error: out of memory", "CUDA driver error: out of memory", "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)  # fmt: skip


def available_bytes(device: torch.device) -> int | None:
    """Bytes that are free for this process; None if the system does not say."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch for its own tensors
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min([*_free_in_machine(), *free_in_groups(Path("/"))], default=None)


def _free_in_machine() -> Iterator[int]:
    with contextlib.suppress(OSError, KeyError):
        yield _kibibytes("/proc/meminfo", "MemAvailable")


def free_in_groups(root: Path) -> Iterator[int]:
    """Free bytes of each control group that limits this process: its own, and those above it.

    Slurm limits a job, its steps and their tasks, one in the other; in a container the outermost group that is seen is
    the container's own. root: `/`.
    """
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                top, *files = GROUPS_1 if controllers else GROUPS_2
                folder = root / top / group.removeprefix("/")
                for each in (folder, *folder.parents):
                    if each.is_relative_to(root / top):
                        yield from _free_in_group(each, *files)


def _free_in_group(folder: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):  # no such group here, or its limit is "max"
        most, now = (int((folder / name).read_text()) for name in (limit, used))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield max(0, most - now + int(counts.get(cached, 0)))


def _kibibytes(file: str, key: str) -> int:
    """The bytes in a line such as `VmRSS:  1234 kB`."""
    lines = (line.split() for line in Path(file).read_text().splitlines())
    return 1024 * int({fields[0]: fields[1] for fields in lines if len(fields) > 1}[f"{key}:"])


def reset_peak(device: torch.device) -> None:
    """Start measuring a new peak, if the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Highest bytes since the last reset: allocated on CUDA, resident on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError, KeyError):
        return _kibibytes("/proc/self/status", "VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error of any library means that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in NO_MEMORY)
