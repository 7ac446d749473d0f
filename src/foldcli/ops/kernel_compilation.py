"""Kernels compiled before they are launched: only `ops` imports foldcli_kernels."""

from collections.abc import Callable

from foldcli_kernels.ahead import Compiler

from foldcli.ops.dispatch import kernel_cache, kernels_without_gpu


def compile_launches(gpu: str, capability: tuple[int, int], processes: int, *works: Callable[[], None]) -> None:
    """Compile, for a GPU of this name and capability, the kernels that each piece of work launches on meta tensors.

    For a process that does nothing else, since from then on no kernel runs in it.
    """
    kernel_cache()
    with kernels_without_gpu():
        Compiler(gpu, capability, processes).compile(*works)
