"""Hand-written chunks of a fixed number of rows, as in OpenFold, to compare AutoChunk's plans with.

Attention, transitions and the outer product run on `chunk` rows at a time and write into one tensor; their inputs are
normalised whole. Triangle multiplication is not chunked, as in OpenFold.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from foldcli import ops
from foldcli.model.layers import Transition, dense
from foldcli.model.msa import MsaColumnAttention, MsaRowAttention, OuterProduct
from foldcli.model.triangle import TriangleAttention


def in_rows(work: Callable[[slice], Tensor], rows: int, chunk: int) -> Tensor:
    """The results of `work` on each slice of rows, in one tensor."""
    first = work(slice(0, chunk))
    out = first.new_empty(rows, *first.shape[1:])
    out[:chunk] = first
    for start in range(chunk, rows, chunk):
        out[start : start + chunk] = work(slice(start, start + chunk))
    return out


def attention(own: Any, x: Tensor, mask: Tensor, z: Tensor | None, chunk: int) -> Tensor:
    normed = own.norm(x)
    bias = None
    if z is not None:
        norm = own.norm_z if isinstance(own, MsaRowAttention) else own.norm
        bias = ops.norm_linear(z, norm.parts, [dense(own.pair_weight)])[0].movedim(-1, -3)
    return in_rows(lambda at: own.attention(own.attention.packed(normed[at]), mask[at], bias), len(x), chunk)


def forwards(module: nn.Module, chunk: int) -> Callable[..., Tensor] | None:
    """The module's forward in chunks; None for a module that is not chunked."""
    own: Any = module
    if isinstance(own, MsaRowAttention):
        return lambda m, z, mask: attention(own, m, mask, z, chunk)
    if isinstance(own, MsaColumnAttention):
        return lambda m, mask: attention(own, m.transpose(0, 1), mask.T, None, chunk).transpose(0, 1)
    if isinstance(own, TriangleAttention):
        return lambda z, mask: attention(own, z, mask, z, chunk)
    if isinstance(own, Transition):
        return lambda x: in_rows(
            lambda at: ops.transition(x[at], own.norm.parts, dense(own.expand), dense(own.contract)), len(x), chunk
        )
    if isinstance(own, OuterProduct):
        return lambda left, right, rows, columns: in_rows(
            lambda at: ops.outer_product_mean(left[:, at], right, dense(own.project), rows[:, at].T @ columns),
            left.shape[1],
            chunk,
        )
    return None


@contextmanager
def fixed_chunks(model: nn.Module, chunk: int) -> Iterator[None]:
    """Inside the context, the modules of `model` run in chunks of so many rows."""
    changed = [(module, forwards(module, chunk)) for module in model.modules()]
    for module, forward in changed:
        if forward:
            module.forward = forward
    try:
        with torch.no_grad():
            yield
    finally:
        for module, forward in changed:
            if forward:
                del module.forward
