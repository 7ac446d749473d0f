"""Compile every kernel in every shipped configuration, ahead of time and without a GPU; fail on what would run badly.

    python benchmarks/kernels_report.py [--once] [--only WORD] [--json FILE] [MODULE ...]

What ships is in tables, aot.py of each operation, with all tiles that tuning tries; `foldcli.bench.launches` adds what
folding and training really launch, with arguments of the values that they have there.

For sm_80 and sm_90: registers a thread, bytes spilled (the stack frame), shared memory a block, and how often the
matrix instructions mma and wgmma stand in the code. Exits with 1 if a configuration spills, takes more shared memory
than a block can have, lacks wgmma where it needs it, or does not compile.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

# Kernels that were decorated for the interpreter cannot be compiled.
os.environ.pop("TRITON_INTERPRET", None)
sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("kernels", "src")]

# Shared memory that one block can have, in bytes (CUDA programming guide, compute capabilities).
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
PROCESSES = 2
LAUNCHES = "foldcli.bench.launches"


@dataclass(frozen=True)
class Compiled:
    """What one configuration became for one capability; spilled and shared in bytes; no faults if it may ship."""

    kernel: str
    config: str
    capability: int
    registers: int
    spilled: int
    shared: int
    mma: int
    wgmma: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A configuration without its function, which is named since jit functions cannot be sent between processes."""

    config: Any
    module: str
    kernel: str
    capability: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "modules",
        nargs="*",
        help=f"modules with aot_configs(); all of foldcli_kernels and {LAUNCHES} where none is named",
    )
    parser.add_argument("--once", action="store_true", help="one configuration of each kernel only")
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    parser.add_argument("--json", type=Path, help="write the table there as well")
    options = parser.parse_args()
    start = time.perf_counter()
    modules = options.modules or [*_kernel_modules(), *([] if options.once else [LAUNCHES])]
    tasks = list(_tasks(modules, options.once, options.only))
    rows = list(_compile_all(tasks))
    _print(rows)
    bad = [row for row in rows if row.faults]
    seconds = time.perf_counter() - start
    print(f"{len(rows)} configurations, {len(bad)} refused, {seconds:.0f} s on {PROCESSES} processes")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 1 if bad or not rows else 0


def _kernel_modules() -> Iterator[str]:
    package = importlib.import_module("foldcli_kernels")
    for info in pkgutil.walk_packages(package.__path__, "foldcli_kernels."):
        if hasattr(importlib.import_module(info.name), "aot_configs"):
            yield info.name


def _tasks(modules: Iterable[str], once: bool, only: str) -> Iterator[Task]:
    for name in modules:
        configs = [config for config in importlib.import_module(name).aot_configs() if only in config.name]
        tasks = [_task(config, capability) for config in configs for capability in config.capabilities]
        yield from _one_of_each(tasks) if once else tasks


def _task(config: Any, capability: int) -> Task:
    function = config.function
    return Task(replace(config, function=None), function.__module__, function.__name__, capability)


def _one_of_each(tasks: list[Task]) -> Iterator[Task]:
    """Take one task of each kernel and capability: in half precision, with Hopper's instructions, of median size."""
    groups: dict[tuple[str, int], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.kernel, task.capability), []).append(task)
    for group in groups.values():
        best = max(_rank(task.config)[:2] for task in group)
        equals = sorted((task for task in group if _rank(task.config)[:2] == best), key=lambda task: _rank(task.config))
        yield equals[len(equals) // 2]


def _rank(config: Any) -> tuple[bool, bool, int]:
    sizes = sum(value for value in config.constexprs.values() if type(value) is int)
    return config.needs_wgmma, "*bf16" in config.signature.values(), sizes


def _compile_all(tasks: list[Task]) -> Iterator[Compiled]:
    # spawn: torch's threads do not survive a fork
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, row in enumerate(pool.map(compiled, tasks), 1):
            if sys.stderr.isatty():
                print(f"\r{done} of {len(tasks)}", end="\r", file=sys.stderr)
            yield row


def compiled(task: Task) -> Compiled:
    """Compile one configuration ahead of time and say what is wrong with it."""
    kernel = task.kernel
    config = replace(task.config, function=getattr(importlib.import_module(task.module), kernel))
    try:
        binary = _compile(config, task.capability)
    except Exception as error:  # any failure of the compiler is a row of the table
        reason = f"does not compile: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"
        return Compiled(kernel, config.name, task.capability, 0, 0, 0, 0, 0, (reason,))
    registers, spilled = _resources(binary.asm["cubin"])
    text = binary.asm["ptx"]
    mma, wgmma = len(re.findall(r"\bmma\.sync", text)), len(re.findall(r"wgmma\.mma_async", text))
    faults = tuple(_faults(config, task.capability, spilled, binary.metadata.shared, wgmma))
    return Compiled(
        kernel, config.name, task.capability, registers, spilled, binary.metadata.shared, mma, wgmma, faults
    )


def _compile(config: Any, capability: int) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = config.function.arg_names
    signature = {name: "constexpr" if name in config.constexprs else config.signature[name] for name in names}
    divisible = config.divisible
    if divisible is None:
        divisible = tuple(name for name, kind in signature.items() if kind.startswith("*"))
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in divisible}
    source = ASTSource(config.function, signature, dict(config.constexprs), attributes)
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Return registers a thread and bytes of stack, where spilled registers go, as the assembler recorded them."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"REG:(\d+) STACK:(\d+)", usage)
    return max(int(registers) for registers, _ in found), sum(int(stack) for _, stack in found)


def _faults(config: Any, capability: int, spilled: int, shared: int, wgmma: int) -> Iterator[str]:
    if spilled:
        yield f"spills {spilled} bytes"
    if shared > SHARED_MEMORY[capability]:
        yield f"{shared} bytes of shared memory, {SHARED_MEMORY[capability]} are there"
    if config.needs_wgmma and capability >= 90 and not wgmma:
        yield "no wgmma"


def _print(rows: list[Compiled]) -> None:
    width = max((len(row.config) for row in rows), default=8)
    print(f"{'config':{width}}  sm  regs  spill  shared  mma  wgmma")
    for row in rows:
        figures = f"{row.capability}  {row.registers:4}  {row.spilled:5}  {row.shared:6}  {row.mma:3}  {row.wgmma:5}"
        print(f"{row.config:{width}}  {figures}  {'; '.join(row.faults)}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
