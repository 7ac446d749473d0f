"""Work done on some rows at a time, so that its temporaries stay small."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import is_fake

from foldcli.shapes import Tensor

_times = 1


def in_parts(work: Callable[..., Tensor], rows: int, channels: int, first: Tensor, *others: Tensor) -> Tensor:
    """Return `work` of all rows of the given tensors, done on at most so many at a time.

    channels: last axis of the result, which is otherwise like the first tensor.
    """
    given = first, *others
    if torch.is_grad_enabled():
        return torch.cat([work(*parts) for parts in zip(*(x.split(rows) for x in given), strict=True)])
    out = first.new_empty(*first.shape[:-1], channels)
    for start, times in _steps(len(first), rows, is_fake(first) or first.is_meta):
        part = slice(start, start + rows)
        with _counted(times):
            out[part].copy_(work(*(x[part] for x in given)))
    return out


def _steps(length: int, rows: int, alike: bool) -> Iterator[tuple[int, int]]:
    """Where each part starts, and how often it counts: parts that are alike are done once for all."""
    whole = length // rows if alike else 0
    if whole:
        yield 0, whole
    yield from ((start, 1) for start in range(whole * rows, length, rows))


def times() -> int:
    """How often the operators that run now count: of a tensor without memory, one part stands for all like it."""
    return _times


@contextmanager
def _counted(times: int) -> Iterator[None]:
    global _times
    before, _times = _times, _times * times
    try:
        yield
    finally:
        _times = before
