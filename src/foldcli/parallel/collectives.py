"""Collectives in two halves: what starts one and what waits for it; in the backward pass the two change places.

The half that waits starts the gradient's collective and the half that starts waits for it, so what the forward pass
computes between the two hides the communication of both passes (FastFold's Duality Async Operations).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from foldcli.parallel.mesh import Axis
from foldcli.shapes import Tensor

_ops = torch.ops._c10d_functional


@dataclass(frozen=True)
class Exchange:
    """A collective and the one that carries its gradients; both return before the data has come."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pending:
    """A collective under way; `returning` holds the gradient's while that is."""

    tensor: Tensor
    exchange: Exchange
    arrange: Callable[[Tensor], Tensor]
    returning: list[Tensor]

    def wait(self) -> Tensor:
        """Its result, once it is there, in the order of axes that was asked for."""
        return self.arrange(_Wait.apply(self.tensor, self.exchange, self.returning))  # type: ignore[no-untyped-call]


def start(buffer: Tensor, exchange: Exchange, arrange: Callable[[Tensor], Tensor]) -> Pending:
    """Start a collective on a buffer; `arrange` is what becomes of the result."""
    returning: list[Tensor] = []
    under_way = _Start.apply(buffer.contiguous(), exchange, returning)  # type: ignore[no-untyped-call]
    return Pending(under_way, exchange, arrange, returning)


def gathering(axis: Axis) -> Exchange:
    """Blocks of all ranks one after another along the first axis; gradients are summed and handed back."""
    return Exchange(
        lambda x: _ops.all_gather_into_tensor(x, axis.size, axis.group),
        lambda x: _ops.reduce_scatter_tensor(x, "sum", axis.size, axis.group),
    )


def swapping(axis: Axis) -> Exchange:
    """Block k of the first axis goes to rank k; its own inverse."""

    def swap(x: Tensor) -> Tensor:
        split = [x.shape[0] // axis.size] * axis.size
        return _ops.all_to_all_single(x, split, split, axis.group)

    return Exchange(swap, swap)


def dealing(axis: Axis, block: int) -> Exchange:
    """Block k of what rank 0 has goes to rank k, other ranks send nothing; gradients go back to rank 0."""
    from_first = [block] + [0] * (axis.size - 1)
    by_first = [block if axis.rank == 0 else 0] * axis.size
    return Exchange(
        lambda x: _ops.all_to_all_single(x, from_first, by_first, axis.group),
        lambda x: _ops.all_to_all_single(x, by_first, from_first, axis.group),
    )


def passing(axis: Axis) -> Exchange:
    """Everything goes to the next rank, and comes from the one before; gradients go the other way."""
    return Exchange(lambda x: pass_on(x, axis, 1), lambda x: pass_on(x, axis, -1))


def pass_on(x: Tensor, axis: Axis, step: int) -> Tensor:
    """Send all of x `step` ranks further; returns before what comes instead is there."""
    sent, received = [0] * axis.size, [0] * axis.size
    sent[(axis.rank + step) % axis.size] = received[(axis.rank - step) % axis.size] = x.shape[0]
    return _ops.all_to_all_single(x, received, sent, axis.group)


def wait(x: Tensor) -> Tensor:
    """What a collective returned, once the data is there."""
    return _ops.wait_tensor(x)


class _Start(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, buffer: Tensor, exchange: Exchange, returning: list[Tensor]) -> Tensor:
        ctx.returning = returning
        return exchange.forward(buffer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, placeholder: Tensor) -> tuple[Tensor, None, None]:
        return wait(ctx.returning.pop()), None, None


class _Wait(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, exchange: Exchange, returning: list[Tensor]) -> Tensor:
        ctx.exchange, ctx.returning, ctx.shape = exchange, returning, tensor.shape
        # Nothing to keep; but checkpointing stops to recompute at the last thing kept, which must not be before here.
        ctx.save_for_backward(tensor.new_empty(0))
        return wait(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # Not as this function's own result: it has the shape of what was sent, and autograd holds it to what came.
        ctx.returning.append(ctx.exchange.backward(gradient.contiguous()))
        return gradient.new_zeros(()).expand(ctx.shape), None, None
