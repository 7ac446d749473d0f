"""Products of sharded operands: blocks travel around a ring of ranks while the block at hand is used.

No rank holds more than its own block, the one at hand and the one on its way. The first block is sent before the
product is asked for, so that other work overlaps it (Duality Async Operations).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from foldcli import ops
from foldcli.parallel.collectives import Pending, ring_shift, shift, start, wait
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Float, Tensor


@dataclass(frozen=True)
class PendingProduct:
    """A product whose first block is on its way; `wait` computes it as the blocks come."""

    wait: Callable[[], Tensor]


def start_outgoing(
    left: Float[Tensor, "*b c i k"], right: Float[Tensor, "*b c j k"], group: RankGroup
) -> PendingProduct:
    """Sum over k of left[i, k] right[j, k] for this rank's i and all j (Suppl. Alg. 11): `right` travels."""
    return PendingProduct(partial(_OutgoingProduct.apply, left, right, ring_blocks(right.detach(), group), group))


def start_incoming(
    left: Float[Tensor, "*b c k j"], right: Float[Tensor, "*b c k i"], group: RankGroup
) -> PendingProduct:
    """Sum over all ranks' k of right[k, i] left[k, j] for this rank's i (Suppl. Alg. 12): partial sums travel."""
    sums = RingSum(group).add_product(right.detach(), left.detach())
    return PendingProduct(partial(_IncomingProduct.apply, right, left, sums, group))


def ring_blocks(block: Tensor, group: RankGroup) -> Iterator[tuple[int, Tensor]]:
    """Yield every rank's block with its owner's rank, this rank's first; the next one is always on its way.

    The first transfer starts at the call, not when the iteration begins.
    """

    def send(block: Tensor) -> Pending:
        return start(block, ring_shift(group), lambda y: y)

    def blocks(block: Tensor, coming: Pending) -> Iterator[tuple[int, Tensor]]:
        yield group.rank, block
        for step in range(1, group.size):
            block = coming.wait()  # Duality Async: is awaited
            if step + 1 < group.size:
                coming = send(block)  # Duality Async: the next one starts, and overlaps the use of this one
            yield (group.rank - step) % group.size, block

    return blocks(block, send(block))


class RingSum:
    """Reduce-scatter around a ring: each rank adds its part to the sum that passes by, until that reaches its owner.

    total: after the last part, the sum of all ranks' parts for this rank.
    """

    def __init__(self, group: RankGroup) -> None:
        self.group = group
        self.left = group.size
        self.coming: Tensor | None = None

    @property
    def owner(self) -> int:
        """The rank whose sum the next part belongs to."""
        return (self.group.rank + self.left - 1) % self.group.size

    def add(self, part: Tensor) -> None:
        """Add this rank's part to the owner's sum and send that on."""
        self.total = part if self.coming is None else part + wait(self.coming)  # Duality Async: is awaited
        self.left -= 1
        # Duality Async: starts, and overlaps the computation of the next part
        self.coming = shift(self.total, self.group, 1) if self.left else None

    def add_product(self, of_rows: Float[Tensor, "*b c k ii"], of_columns: Float[Tensor, "*b c k j"]) -> "RingSum":
        """Add this rank's part of the sum over k of of_rows[k, i] of_columns[k, j], for the i of its owner."""
        part = of_rows.chunk(self.group.size, dim=-1)[self.owner]
        self.add(ops.triangle_product(part.transpose(-1, -2), of_columns.transpose(-1, -2)))
        return self


class _OutgoingProduct(torch.autograd.Function):
    """Saves only this rank's operands; in the backward pass the right one travels again, beside it its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        left: Float[Tensor, "*b c i k"],
        right: Float[Tensor, "*b c j k"],
        blocks: Iterator[tuple[int, Tensor]],
        group: RankGroup,
    ) -> Float[Tensor, "*b c i jj"]:
        ctx.save_for_backward(left, right)
        ctx.group = group
        product = left.new_empty(*left.shape[:-1], right.shape[-2] * group.size)
        parts = product.chunk(group.size, dim=-1)
        for owner, block in blocks:
            parts[owner].copy_(ops.triangle_product(left, block))
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        left, right = ctx.saved_tensors
        parts = gradient.chunk(ctx.group.size, dim=-1)
        # Duality Async: the right operand's first transfer starts here; each is awaited when its block is asked for.
        blocks, of_right = ring_blocks(right, ctx.group), RingSum(ctx.group)
        of_left = torch.zeros_like(left)
        for owner, block in blocks:
            of_right.add(torch.matmul(parts[of_right.owner].transpose(-1, -2), left))
            of_left += torch.matmul(parts[owner], block)
        return of_left, of_right.total, None, None


class _IncomingProduct(torch.autograd.Function):
    """Operands stay where they are; in the backward pass only the product's gradient travels.

    of_rows, of_columns: the operands that give the product's rows and columns: `right` and `left` of `start_incoming`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        of_rows: Float[Tensor, "*b c k ii"],
        of_columns: Float[Tensor, "*b c k j"],
        sums: RingSum,
        group: RankGroup,
    ) -> Float[Tensor, "*b c i j"]:
        ctx.save_for_backward(of_rows, of_columns)
        ctx.group = group
        while sums.left:
            sums.add_product(of_rows, of_columns)
        return sums.total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_rows, of_columns = ctx.saved_tensors
        row_parts = of_rows.chunk(ctx.group.size, dim=-1)
        row_gradient, column_gradient = torch.empty_like(of_rows), torch.zeros_like(of_columns)
        row_gradient_parts = row_gradient.chunk(ctx.group.size, dim=-1)
        # Duality Async: each transfer of the gradient starts one block ahead of its use (`ring_blocks`)
        for owner, block in ring_blocks(gradient.contiguous(), ctx.group):
            row_gradient_parts[owner].copy_(torch.matmul(of_columns, block.transpose(-1, -2)))
            column_gradient += torch.matmul(row_parts[owner], block)
        return row_gradient, column_gradient, None, None
