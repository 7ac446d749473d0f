"""Products with what every rank holds a part of: parts travel around the ring while the present one is used.

No rank ever holds more than its own part, the present one and the one that is coming. The first part leaves before the
product is asked for, so that other work can be done on its way.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from foldcli import ops
from foldcli.parallel.collectives import Pending, pass_on, passing, start, wait
from foldcli.parallel.mesh import Axis
from foldcli.shapes import Float, Tensor


def around(block: Tensor, ranks: Axis) -> Iterator[tuple[int, Tensor]]:
    """Every rank's block with the rank it is from, this rank's first; the next is always under way, from now on."""

    def leave(block: Tensor) -> Pending:
        return start(block, passing(ranks), lambda y: y)

    def turns(block: Tensor, coming: Pending) -> Iterator[tuple[int, Tensor]]:
        yield ranks.rank, block
        for step in range(1, ranks.size):
            block = coming.wait()
            if step + 1 < ranks.size:
                coming = leave(block)
            yield (ranks.rank - step) % ranks.size, block

    return turns(block, leave(block))


class RightAround(torch.autograd.Function):
    """Sum over k of left[i, k] right[j, k] for this rank's i and all j; only this rank's operands are kept.

    `turns` bring the right operand around. In the backward pass it travels once more, and beside it the sums that
    become its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        left: Float[Tensor, "*b c i k"],
        right: Float[Tensor, "*b c j k"],
        turns: Iterator[tuple[int, Tensor]],
        ranks: Axis,
    ) -> Float[Tensor, "*b c i jj"]:
        ctx.save_for_backward(left, right)
        ctx.ranks = ranks
        product = left.new_empty(*left.shape[:-1], right.shape[-2] * ranks.size)
        parts = product.chunk(ranks.size, dim=-1)
        for owner, block in turns:
            parts[owner].copy_(ops.triangle_product(left, block))
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        left, right = ctx.saved_tensors
        parts = gradient.chunk(ctx.ranks.size, dim=-1)
        turns, sums = around(right, ctx.ranks), Sums(ctx.ranks)
        of_left = torch.zeros_like(left)
        for owner, block in turns:
            sums.add(torch.matmul(parts[sums.addressee].transpose(-1, -2), left))
            of_left += torch.matmul(parts[owner], block)
        return of_left, sums.held, None, None


class SumsAround(torch.autograd.Function):
    """Sum over all ranks' k of left[k, i] right[k, j] for this rank's i and all j; operands stay where they are.

    `sums` hold what was added up so far. In the backward pass the product's gradient travels, and nothing else.
    """

    @staticmethod
    def forward(
        ctx: Any, left: Float[Tensor, "*b c k ii"], right: Float[Tensor, "*b c k j"], sums: "Sums", ranks: Axis
    ) -> Float[Tensor, "*b c i j"]:
        ctx.save_for_backward(left, right)
        ctx.ranks = ranks
        while sums.left:
            sums.add_product(left, right)
        return sums.held

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        left, right = ctx.saved_tensors
        parts = left.chunk(ctx.ranks.size, dim=-1)
        of_left, of_right = torch.empty_like(left), torch.zeros_like(right)
        of_parts = of_left.chunk(ctx.ranks.size, dim=-1)
        for owner, block in around(gradient.contiguous(), ctx.ranks):
            of_parts[owner].copy_(torch.matmul(right, block.transpose(-1, -2)))
            of_right += torch.matmul(parts[owner], block)
        return of_left, of_right, None, None


class Sums:
    """Sums that travel: every rank adds its part to that of each addressee, whom it reaches after a whole turn.

    held: after the last part, the sum of all ranks' parts for this rank.
    """

    def __init__(self, ranks: Axis) -> None:
        self.ranks = ranks
        self.left = ranks.size
        self.coming: Tensor | None = None

    @property
    def addressee(self) -> int:
        """Whose sum the next part belongs to."""
        return (self.ranks.rank + self.left - 1) % self.ranks.size

    def add(self, part: Tensor) -> None:
        self.held = part if self.coming is None else part + wait(self.coming)
        self.left -= 1
        self.coming = pass_on(self.held, self.ranks, 1) if self.left else None

    def add_product(self, left: Float[Tensor, "*b c k ii"], right: Float[Tensor, "*b c k j"]) -> "Sums":
        """Add this rank's part of the sum over k of left[k, i] right[k, j]."""
        part = left.chunk(self.ranks.size, dim=-1)[self.addressee]
        self.add(ops.triangle_product(part.transpose(-1, -2), right.transpose(-1, -2)))
        return self
