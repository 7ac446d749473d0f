"""`foldcli bench --seq-len`: what was asked for, and the figures of every module at every length."""

import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from foldcli import __version__
from foldcli.bench.cases import Cases, Sizes, wanted
from foldcli.bench.figures import Figure
from foldcli.bench.limits import Limits, limits_of
from foldcli.bench.measure import Bench
from foldcli.compose import model_config
from foldcli.config import ModelConfig
from foldcli.devices import choose_device, choose_precision
from foldcli.errors import InputError
from foldcli.folding.allocator import keep_freed_memory, return_freed_memory

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Request:
    """What to measure; a run keeps it, so that it can be repeated. limit: seconds for each length, on the CPU."""

    lengths: tuple[int, ...]
    depth: int
    extra: int
    model: str
    modules: tuple[str, ...]
    blocks: int | None
    backward: bool
    device: str
    dtype: str
    limit: float
    overrides: tuple[str, ...]

    def config(self) -> ModelConfig:
        blocks = [] if self.blocks is None else [f"model.evoformer.blocks={self.blocks}"]
        return model_config(self.model, [*blocks, *self.overrides])


@dataclass(frozen=True)
class Machine:
    """Where and with what something was measured."""

    device: str
    threads: int
    foldcli: str
    torch: str
    python: str
    commit: str
    date: str


@dataclass(frozen=True)
class Measured:
    """A request's figures by length."""

    machine: Machine
    request: Request
    limits: Limits
    figures: dict[int, list[Figure]]


def measure(request: Request, told: Callable[[str], None]) -> Measured:
    """Measure what is asked for; `told` hears which module is being measured."""
    device, dtype = device_and_dtype(request.device, request.dtype)
    config = request.config()
    names = wanted(config, request.modules)
    as_in_a_fold(device)
    limits = limits_of(device, dtype)
    figures: dict[int, list[Figure]] = {}
    for length in request.lengths:
        limits = limits.best(limits_of(device, dtype))  # other work on the machine makes it seem slow
        cases = Cases(config, Sizes(length, request.depth, request.extra), device, dtype)
        bench = Bench(cases, limits, request.limit, request.backward)
        figures[length] = []
        for name in names:
            told(f"{length} residues: {name}")
            figures[length].append(bench.figure(cases.case(name)))
    return Measured(machine_of(device), request, limits, figures)


def device_and_dtype(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Where to measure and in which type; auto is what `foldcli fold` takes. InputError: what there is not."""
    if dtype not in ("auto", *DTYPES) or device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device} --dtype {dtype}: expected auto, cpu or cuda, and auto, fp32 or bf16")
    found = choose_device(device)
    return found, choose_precision(dtype, found)


def as_in_a_fold(device: torch.device) -> None:
    """Let the CPU's tensors take pages that others have left, as `foldcli fold` does where there is room.

    Else the time of large tensors is that of their fresh pages. What was left before this is handed back.
    """
    if device.type == "cpu":
        return_freed_memory()
        keep_freed_memory()


def machine_of(device: torch.device) -> Machine:
    return Machine(
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
