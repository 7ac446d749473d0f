"""Hardware and versions behind a measurement, and the CPU allocator settings that it shares with `foldcli fold`."""

import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from foldcli import __version__
from foldcli.bench.commit import commit
from foldcli.devices import cpu_threads, device_name
from foldcli.folding.allocator import keep_freed_memory, return_freed_memory

# Where foldcli runs from, if it is not installed.
CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True)
class HostInfo:
    """Hardware, versions, commit and date of a measurement; threads: of the CPU, 0 on a GPU."""

    device: str
    threads: int
    foldcli: str
    torch: str
    python: str
    commit: str
    date: str


def use_fold_allocator(device: torch.device) -> None:
    """Let the CPU allocator reuse freed pages, as `foldcli fold` does where memory allows.

    Otherwise page faults dominate the time of large tensors. Pages freed before this call are returned to the system.
    """
    if device.type == "cpu":
        return_freed_memory()
        keep_freed_memory()


def host_info(device: torch.device) -> HostInfo:
    """Describe this machine, as of now."""
    return HostInfo(
        device_name(device), cpu_threads(device), __version__, torch.__version__,
        platform.python_version(), commit(CHECKOUT), datetime.now().astimezone().isoformat(timespec="seconds"),
    )  # fmt: skip
