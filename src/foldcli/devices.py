"""Which device a model runs on, and in which number type: one choice for folding, training and benchmarks."""

import platform
from pathlib import Path

import torch

from foldcli.errors import InputError

NO_CUDA = "--device cuda: torch sees no CUDA device; use --device cpu, or install a CUDA build of torch"


def choose_device(name: str, no_cuda: str = NO_CUDA) -> torch.device:
    """The device for "auto", "cpu" or "cuda"; auto is CUDA where torch sees it.

    InputError with the text `no_cuda`: CUDA was asked for and torch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(no_cuda)
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The trunk's dtype for "auto", "fp32" or "bf16"; auto is bf16 on CUDA, as AlphaFold itself runs, else float32."""
    half = name == "bf16" or (name == "auto" and device.type == "cuda")
    return torch.bfloat16 if half else torch.float32


def device_name(device: torch.device) -> str:
    """What the GPU calls itself, or the processor, where the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cpu_threads(device: torch.device) -> int:
    """Threads that share an operation on the CPU; 0 on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 0
