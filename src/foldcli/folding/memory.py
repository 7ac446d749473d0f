"""How much memory a fold takes, how much there is, and the longest sequence that fits."""

import contextlib
import resource
import sys
from pathlib import Path

import torch

from foldcli.config import ModelConfig
from foldcli.errors import FoldcliError

GIB = 1 << 30


def predicted_bytes(config: ModelConfig, length: int, rows: int, extra_rows: int, width: int) -> int:
    """Peak of the activations for `length` residues, with `width` bytes a number in the trunk.

    The largest of the trunk's steps beside the MSA and pairs that live through it: transitions, packed attention, the
    outer product before its projection, and the triangle product with its operands.
    """
    main, extra, pairs = config.evoformer, config.extra_msa, length * length
    kept = (rows * main.c_m + 2 * extra_rows * extra.c_m) * length + 3 * pairs * config.c_z
    msa_step = rows * length * main.c_m * (main.transition_factor + 2)
    extra_step = extra_rows * length * extra.c_m * (extra.transition_factor + 2)
    outer = pairs * (main.c_outer**2 + config.c_z)
    triangle = pairs * (4 * main.c_triangle + 4 * config.c_z)
    heads = 4 * pairs * (config.c_z + 4 * config.heads.distogram_bins)
    return max(width * (kept + max(msa_step, extra_step, outer, triangle)), heads)


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free for the fold; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    return None


def require_memory(config: ModelConfig, length: int, rows: int, extra_rows: int, width: int, device: torch.device) -> None:
    """FoldcliError, which says what would fit, if the fold would not."""
    free = available_bytes(device)
    needed = predicted_bytes(config, length, rows, extra_rows, width)
    if free is not None and needed > free:
        fits = longest_that_fits(config, free, rows, extra_rows, width)
        raise FoldcliError(
            f"{length} residues need about {needed / GIB:.1f} GiB and {free / GIB:.1f} GiB are free; "
            f"up to {fits} residues would fit, fewer alignment rows (model.msa.max_extra=N) or --precision bf16 save more"
        )


def longest_that_fits(config: ModelConfig, free: int, rows: int, extra_rows: int, width: int) -> int:
    """The longest sequence, in residues, whose fold takes no more than `free` bytes."""
    low, high = 0, 1 << 20
    while low < high:
        middle = (low + high + 1) // 2
        if predicted_bytes(config, middle, rows, extra_rows, width) <= free:
            low = middle
        else:
            high = middle - 1
    return low


def reset_peak(device: torch.device) -> None:
    """Start a new peak, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Highest memory since the last reset: allocated on CUDA, resident in the process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
