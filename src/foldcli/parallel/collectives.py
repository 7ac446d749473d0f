"""Duality Async Operations (FastFold): every collective is split into one operation that starts it and one that waits.

In the backward pass the two swap roles: the backward of the wait starts the gradient's collective, and the backward of
the start waits for it. Whatever is computed between the two overlaps the communication of both passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Tensor

_ops = torch.ops._c10d_functional

# Larger tensors are sent in several messages, so that what is on its way takes little memory: bytes of one, and how
# many there are at most.
MESSAGE, MOST_MESSAGES = 1 << 29, 16


@dataclass(frozen=True)
class Collective:
    """A collective and the one that carries its gradients; both return at once, before the data has arrived."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pending:
    """A collective that was started: `wait` gives its result.

    buffer: the result, to be read only after the wait; rearrange: applied to it then; gradients: the gradient's
    collective while it is on its way.
    """

    buffer: Tensor
    collective: Collective
    rearrange: Callable[[Tensor], Tensor]
    gradients: list[Tensor]

    def wait(self) -> Tensor:
        """Duality Async, second half: wait for the result. Its backward starts the gradient's collective."""
        return self.rearrange(_Wait.apply(self.buffer, self.collective, self.gradients))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Arrived:
    """What stands for a collective that was not worth overlapping: its result is there."""

    result: Tensor

    def wait(self) -> Tensor:
        return self.result


def start(buffer: Tensor, collective: Collective, rearrange: Callable[[Tensor], Tensor]) -> Pending:
    """Duality Async, first half: start a collective on a buffer. Its backward waits for the gradient's collective."""
    gradients: list[Tensor] = []
    result = _Start.apply(buffer.contiguous(), collective, gradients)  # type: ignore[no-untyped-call]
    return Pending(result, collective, rearrange, gradients)


def messages(nbytes: int) -> int:
    """How many messages a tensor of so many bytes is sent in."""
    return int(max(1, min(-(-nbytes // MESSAGE), MOST_MESSAGES)))


def all_gather(group: RankGroup) -> Collective:
    """Every rank gets all ranks' blocks, concatenated along the first axis; gradients are reduce-scattered."""
    return Collective(
        lambda x: _ops.all_gather_into_tensor(x, group.size, group.name),
        lambda x: _ops.reduce_scatter_tensor(x, "sum", group.size, group.name),
    )


def all_to_all(group: RankGroup) -> Collective:
    """Block k of the first axis goes to rank k; the operation is its own inverse."""

    def exchange(x: Tensor) -> Tensor:
        split = [x.shape[0] // group.size] * group.size
        return _ops.all_to_all_single(x, split, split, group.name)

    return Collective(exchange, exchange)


def scatter(group: RankGroup, block: int) -> Collective:
    """Block k of rank 0's buffer goes to rank k, other ranks send nothing; gradients are gathered on rank 0."""
    from_first = [block] + [0] * (group.size - 1)
    by_first = [block if group.first else 0] * group.size
    return Collective(
        lambda x: _ops.all_to_all_single(x, from_first, by_first, group.name),
        lambda x: _ops.all_to_all_single(x, by_first, from_first, group.name),
    )


def ring_shift(group: RankGroup) -> Collective:
    """The whole buffer goes to the next rank; gradients go to the previous one."""
    return Collective(lambda x: shift(x, group, 1), lambda x: shift(x, group, -1))


def shift(x: Tensor, group: RankGroup, step: int) -> Tensor:
    """Send all of x `step` ranks further and receive as much; returns before the data has arrived."""
    sent, received = [0] * group.size, [0] * group.size
    sent[(group.rank + step) % group.size] = received[(group.rank - step) % group.size] = x.shape[0]
    return _ops.all_to_all_single(x, received, sent, group.name)


def wait(x: Tensor) -> Tensor:
    """Wait for the result of a functional collective."""
    return _ops.wait_tensor(x)


class _Start(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, buffer: Tensor, collective: Collective, gradients: list[Tensor]) -> Tensor:
        ctx.gradients = gradients
        return collective.forward(buffer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, placeholder: Tensor) -> tuple[Tensor, None, None]:
        """Duality Async, backward pass: await the gradient that `_Wait.backward` has started to send."""
        return wait(ctx.gradients.pop()), None, None


class _Wait(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, buffer: Tensor, collective: Collective, gradients: list[Tensor]) -> Tensor:
        ctx.collective, ctx.gradients, ctx.shape = collective, gradients, buffer.shape
        # Nothing needs saving, but checkpointing stops to recompute at the last tensor saved: that must not be earlier.
        ctx.save_for_backward(buffer.new_empty(0))
        return wait(buffer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Duality Async, backward pass: start the gradient's collective, for which `_Start.backward` waits."""
        # Passed in a list: it has the shape of what was sent, and autograd wants that of what was received.
        ctx.gradients.append(ctx.collective.backward(gradient.contiguous()))
        return gradient.new_zeros(()).expand(ctx.shape), None, None
