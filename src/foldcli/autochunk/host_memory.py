"""Host memory as a second tier: tensors that rest there, copied on a stream of their own.

On the CPU, which has no other memory, a copy stands in for it.
"""

from functools import cache

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def park(x: Tensor) -> Tensor:
    """A copy of x in host memory; on CUDA in pinned memory, made while other work goes on."""
    if isinstance(x, FakeTensor) or not x.is_cuda:
        return torch.empty_like(x).copy_(x)
    host = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, pin_memory=True)
    stream = _stream(x.device)
    stream.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(stream):
        host.copy_(x, non_blocking=True)
    x.record_stream(stream)  # its memory is not used again before it is copied
    return host


def fetch(host: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device again."""
    x = torch.empty_like(host, device=device)
    put(host, x)
    return x


def put(host: Tensor, into: Tensor) -> None:
    """Copy a parked tensor into one on a device."""
    if into.is_cuda and not isinstance(into, FakeTensor):
        torch.cuda.current_stream(into.device).wait_stream(_stream(into.device))  # parked by then
    into.copy_(host, non_blocking=True)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
