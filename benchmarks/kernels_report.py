"""Compile every kernel in every shipped configuration, ahead of time and without a GPU; fail on what would run badly.

    python benchmarks/kernels_report.py [--once] [--only WORD] [--processes N] [--json FILE] [MODULE ...]

What ships is in tables, aot.py of each operation, with all tiles that tuning tries; `foldcli.bench.launches` adds what
folding and training really launch, with arguments of the values that they have there.

For sm_80 and sm_90: registers a thread, bytes spilled (the stack frame), shared memory a block, how often the matrix
instructions mma and wgmma stand in the code, and of attention the instructions a score. Exits with 1 if a configuration
spills, takes more shared memory than a block can have, lacks wgmma where it needs it, issues more instructions a score
than machine_code.py allows, or does not compile.

What gives the same code is compiled once. Results are kept, by the sources they come from, in foldcli/kernels-report of
the user's cache folder, so that a second run compiles only what has changed.
"""

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import re
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import machine_code

# Kernels that were decorated for the interpreter cannot be compiled.
os.environ.pop("TRITON_INTERPRET", None)
sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("kernels", "src")]

# Shared memory that one block can have, in bytes (CUDA programming guide, compute capabilities).
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
LAUNCHES = "foldcli.bench.launches"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foldcli" / "kernels-report"


@dataclass(frozen=True)
class Compiled:
    """What one configuration became for one capability; spilled and shared in bytes; no faults if it may ship.

    per_score: instructions a score of attention, 0 of other kernels.
    """

    kernel: str
    config: str
    capability: int
    registers: int
    spilled: int
    shared: int
    mma: int
    wgmma: int
    per_score: float
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
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that compile (default: one a core)")
    parser.add_argument("--json", type=Path, help="write the table there as well")
    options = parser.parse_args()
    start = time.perf_counter()
    modules = options.modules or [*_kernel_modules(), *([] if options.once else [LAUNCHES])]
    tasks = list(_tasks(modules, options.once, options.only))
    rows = list(_compile_all(tasks, options.processes))
    _print(rows)
    bad = [row for row in rows if row.faults]
    seconds = time.perf_counter() - start
    print(f"{len(rows)} configurations, {len(bad)} refused, {seconds:.0f} s on {options.processes} processes")
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


def _compile_all(tasks: list[Task], processes: int) -> Iterator[Compiled]:
    """Compile what is new; the row of one task is another's as well if they differ in name alone."""
    own = {_digest(task): task for task in reversed(tasks)}
    # spawn: torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        rows = {digest: pool.submit(_kept, digest, task) for digest, task in reversed(own.items())}
        for done, task in enumerate(tasks, 1):
            row = rows[_digest(task)].result()
            if sys.stderr.isatty():
                print(f"\r{done} of {len(tasks)}", end="\r", file=sys.stderr)
            yield replace(row, config=task.config.name)


def _digest(task: Task) -> str:
    """Name what a task compiles: the kernel's source and that of all it calls, the compiler, and this report's."""
    import triton

    function = getattr(importlib.import_module(task.module), task.kernel)
    report = [Path(file).read_text() for file in (__file__, machine_code.__file__)]
    own = replace(task, config=replace(task.config, name="", launched=False))
    return hashlib.sha256(repr((function.cache_key, triton.__version__, report, own)).encode()).hexdigest()


def _kept(digest: str, task: Task) -> Compiled:
    """Return the row of a task from the cache, else compile it and keep it there."""
    file = CACHE / f"{digest}.json"
    if file.exists():
        kept = json.loads(file.read_text())
        return Compiled(**{**kept, "faults": tuple(kept["faults"])})
    row = compiled(task)
    if not row.registers:  # not compiled, perhaps for want of memory
        return row
    CACHE.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(row)))
    part.replace(file)
    return row


def compiled(task: Task) -> Compiled:
    """Compile one configuration ahead of time and say what is wrong with it."""
    kernel = task.kernel
    config = replace(task.config, function=getattr(importlib.import_module(task.module), kernel))
    try:
        binary = _compile(config, task.capability)
    except Exception as error:  # any failure of the compiler is a row of the table
        reason = f"does not compile: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"
        return Compiled(kernel, config.name, task.capability, 0, 0, 0, 0, 0, 0.0, (reason,))
    registers, spilled = machine_code.resources(binary.asm["cubin"])
    per_score = machine_code.instructions_per_score(binary.asm["cubin"], config)
    text = binary.asm["ptx"]
    mma, wgmma = len(re.findall(r"\bmma\.sync", text)), len(re.findall(r"wgmma\.mma_async", text))
    shared = binary.metadata.shared
    faults = [*_faults(config, task.capability, spilled, shared, wgmma)]
    faults += filter(None, [machine_code.too_many(config, task.capability, per_score)])
    return Compiled(
        kernel, config.name, task.capability, registers, spilled, shared, mma, wgmma, round(per_score, 2), tuple(faults)
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


def _faults(config: Any, capability: int, spilled: int, shared: int, wgmma: int) -> Iterator[str]:
    if spilled:
        yield f"spills {spilled} bytes"
    if shared > SHARED_MEMORY[capability]:
        yield f"{shared} bytes of shared memory, {SHARED_MEMORY[capability]} are there"
    if config.needs_wgmma and capability >= 90 and not wgmma:
        yield "no wgmma"


def _print(rows: list[Compiled]) -> None:
    width = max((len(row.config) for row in rows), default=8)
    print(f"{'config':{width}}  sm  regs  spill  shared  mma  wgmma  a score")
    for row in rows:
        figures = f"{row.capability}  {row.registers:4}  {row.spilled:5}  {row.shared:6}  {row.mma:3}  {row.wgmma:5}"
        figures += f"  {row.per_score:7.1f}" if row.per_score else " " * 9
        print(f"{row.config:{width}}  {figures}  {'; '.join(row.faults)}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
