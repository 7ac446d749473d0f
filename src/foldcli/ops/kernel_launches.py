"""What the model launches, for what compiles it ahead of time: only `ops` imports foldcli_kernels."""

import contextlib
from collections.abc import Iterator

from foldcli_kernels.aot import AotConfig
from foldcli_kernels.launches import recorded

from foldcli.ops.dispatch import kernels_on_cpu

__all__ = ["AotConfig", "recorded_launches"]


@contextlib.contextmanager
def recorded_launches() -> Iterator[list[AotConfig]]:
    """Note each distinct launch of a kernel on CPU tensors inside the block; none runs.

    RuntimeError where Triton interprets kernels.
    """
    with kernels_on_cpu(), recorded() as found:
        yield found
