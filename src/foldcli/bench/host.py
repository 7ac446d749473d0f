"""Hardware and versions behind a measurement, and the CPU allocator settings that it shares with `foldcli fold`."""

import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from foldcli import __version__
from foldcli.devices import cpu_threads, device_name
from foldcli.folding.allocator import keep_freed_memory, return_freed_memory


@dataclass(frozen=True)
class HostInfo:
    """Where and with what something was measured."""

    device: str
    threads: int
    foldcli: str
    torch: str
    python: str
    commit: str
    date: str


def use_fold_allocator(device: torch.device) -> None:
    """Let the CPU's tensors take pages that others have left, as `foldcli fold` does where there is room.

    Else the time of large tensors is that of their fresh pages. What was left before this is handed back.
    """
    if device.type == "cpu":
        return_freed_memory()
        keep_freed_memory()


def host_info(device: torch.device) -> HostInfo:
    return HostInfo(
        device_name(device), cpu_threads(device), __version__, torch.__version__,
        platform.python_version(), commit(), datetime.now().astimezone().isoformat(timespec="seconds"),
    )  # fmt: skip


def commit() -> str:
    """The commit of the checkout that foldcli runs from, "" for an installed one; marked where files have changed."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    described = subprocess.run(
        ["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip()
