"""What the model launches, for what compiles or counts it: only `ops` imports foldcli_kernels."""

import contextlib
from collections.abc import Callable, Iterator

from foldcli_kernels.aot import AotConfig
from foldcli_kernels.launches import counted, recorded

from foldcli.ops.dispatch import kernels_without_gpu

__all__ = ["AotConfig", "counted_launches", "recorded_launches"]


@contextlib.contextmanager
def recorded_launches() -> Iterator[list[AotConfig]]:
    """Note each distinct launch of a kernel on CPU tensors inside the block; none runs.

    RuntimeError where Triton interprets kernels.
    """
    with kernels_without_gpu(), recorded() as found:
        yield found


@contextlib.contextmanager
def counted_launches(count: Callable[[str], None]) -> Iterator[None]:
    """Call `count` with the kernel's name for each launch on meta tensors inside the block; none runs."""
    with kernels_without_gpu(), counted(count):
        yield
