"""Hardware and versions behind a measurement, and the CPU allocator settings that it shares with `foldcli fold`."""

import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from foldcli import __version__
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
        device_name(device), torch.get_num_threads() if device.type == "cpu" else 0, __version__, torch.__version__,
        platform.python_version(), commit(), datetime.now().astimezone().isoformat(timespec="seconds"),
    )  # fmt: skip


def device_name(device: torch.device) -> str:
    """What the GPU calls itself, or the processor, where the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the checkout that foldcli runs from, "" for an installed one; marked where files have changed."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    described = subprocess.run(
        ["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip()
