"""Compiles kernels before they are launched, in many processes, for a GPU that none of them touches.

It is Triton's own launch that compiles them, as a warm-up on a device that is only named, so that what it leaves in
Triton's cache is what the launch on the real device looks for there.
"""

import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

from foldcli_kernels.launches import Launch, recorded
from foldcli_kernels.tuning import plan_for


@dataclass(frozen=True)
class NamedGpu:
    """What Triton asks its driver when it compiles."""

    capability: int

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiler:
    """Compiles for a GPU, given by its name and compute capability; for processes that do nothing else from then on."""

    def __init__(self, name: str, capability: tuple[int, int], processes: int) -> None:
        self.processes = processes
        self._run = jit.JITFunction.run
        plan_for(name, capability)
        driver.set_active(NamedGpu(10 * capability[0] + capability[1]))

    def compile(self, *works: Callable[[], None]) -> None:
        """Compile what each piece of work launches on CPU or meta tensors, before the next piece is begun.

        A launch that does not compile is left to be compiled, and to fail, where it is made.
        """
        new: list[Launch] = []
        with recorded(new.append):
            for work in works:
                work()
                self._compile(new)
                new.clear()

    def _compile(self, launches: list[Launch]) -> None:
        """Compile launches, each process taking the next one that no other has taken."""
        fork = multiprocessing.get_context("fork")  # which inherits the launches: they cannot be sent
        taken = fork.Value("i", 0)

        def compile_some() -> None:
            while True:
                with taken.get_lock():
                    number, taken.value = taken.value, taken.value + 1
                if number >= len(launches):
                    return
                with contextlib.suppress(Exception):
                    self._warm_up(*launches[number])

        processes = [fork.Process(target=compile_some) for _ in range(min(self.processes, len(launches)))]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    def _warm_up(self, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._run(function, *arguments, grid=(1,), warmup=True, **named)
