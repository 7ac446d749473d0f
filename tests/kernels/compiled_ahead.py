"""Compile some launches ahead of time in one process, then count what Triton compiles when another makes them.

    python -m tests.kernels.compiled_ahead ahead|launched

A script: kernels are compiled only where Triton does not interpret them, as it does in the tests' own process.
"""

import sys
from typing import Any

import torch
from foldcli_kernels.ahead import NamedGpu
from foldcli_kernels.tuning import plan_for
from triton import knobs
from triton.runtime import driver, jit

from foldcli import ops
from foldcli.ops.dispatch import kernel_cache, kernels_without_gpu
from foldcli.ops.kernel_compilation import compile_launches

GPU, CAPABILITY = "NVIDIA H100 80GB HBM3", (9, 0)


def work(device: str) -> None:
    """Launch two small kernels, one of them in two ways: for a number of rows that 16 divides, and for another."""
    for rows in (48, 5):
        x = torch.empty(rows, 7, 32, dtype=torch.bfloat16, device=device)
        ops.layer_norm(x, (x.new_empty(32), x.new_empty(32)))
        ops.key_fill(x[..., 0].float(), torch.float32)


def ahead() -> None:
    compile_launches(GPU, CAPABILITY, 2, lambda: work("meta"))


def launched() -> None:
    """Launch as a fold does, but on tensors of the CPU, and stop each launch once its kernel is found or compiled."""
    plan_for(GPU, CAPABILITY)
    driver.set_active(NamedGpu(90))
    run = jit.JITFunction.run

    def found(function: Any, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
        run(function, *arguments, grid=grid, warmup=True, **named)

    jit.JITFunction.run = found
    kernel_cache()
    with kernels_without_gpu():
        work("cpu")


if __name__ == "__main__":
    counts = {True: 0, False: 0}

    def count(*_: Any, cache_hit: bool, **__: Any) -> None:
        counts[cache_hit] += 1

    knobs.compilation.listener = count
    {"ahead": ahead, "launched": launched}[sys.argv[1]]()
    print(f"{counts[False]} compiled, {counts[True]} found")
