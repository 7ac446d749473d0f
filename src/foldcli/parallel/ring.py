"""Products with what every rank holds a part of: parts travel around the ring while the present one is used.

No rank ever holds more than its own part, the present one and the one that is coming.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from foldcli import ops
from foldcli.parallel.collectives import pass_on, passing, start, wait
from foldcli.parallel.mesh import Axis
from foldcli.shapes import Float, Tensor


def around(block: Tensor, ranks: Axis) -> Iterator[tuple[int, Tensor]]:
    """Every rank's block with the rank it is from, this rank's first; the next is under way while one is used."""
    for step in range(ranks.size):
        coming = start(block, passing(ranks), lambda y: y) if step + 1 < ranks.size else None
        yield (ranks.rank - step) % ranks.size, block
        if coming is not None:
            block = coming.wait()


class RightAround(torch.autograd.Function):
    """Sum over k of left[i, k] right[j, k] for this rank's i and all j; only this rank's operands are kept.

    In the backward pass the right operand travels once more, and beside it the sums that become its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, left: Float[Tensor, "*b c i k"], right: Float[Tensor, "*b c j k"], ranks: Axis
    ) -> Float[Tensor, "*b c i jj"]:
        ctx.save_for_backward(left, right)
        ctx.ranks = ranks
        product = left.new_empty(*left.shape[:-1], right.shape[-2] * ranks.size)
        parts = product.chunk(ranks.size, dim=-1)
        for owner, block in around(right, ranks):
            parts[owner].copy_(ops.triangle_product(left, block))
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        parts = gradient.chunk(ctx.ranks.size, dim=-1)
        sums = Sums(ctx.ranks)
        of_left = torch.zeros_like(left)
        for owner, block in around(right, ctx.ranks):
            of_left += torch.matmul(parts[owner], block)
            sums.add(torch.matmul(parts[sums.addressee].transpose(-1, -2), left))
        return of_left, sums.held, None


class SumsAround(torch.autograd.Function):
    """Sum over all ranks' k of left[k, i] right[k, j] for this rank's i and all j; operands stay where they are.

    In the backward pass the product's gradient travels, and nothing else.
    """

    @staticmethod
    def forward(
        ctx: Any, left: Float[Tensor, "*b c k ii"], right: Float[Tensor, "*b c k j"], ranks: Axis
    ) -> Float[Tensor, "*b c i j"]:
        ctx.save_for_backward(left, right)
        ctx.ranks = ranks
        parts, sums = left.chunk(ranks.size, dim=-1), Sums(ranks)
        for _ in range(ranks.size):
            sums.add(ops.triangle_product(parts[sums.addressee].transpose(-1, -2), right.transpose(-1, -2)))
        return sums.held

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        parts = left.chunk(ctx.ranks.size, dim=-1)
        of_left, of_right = torch.empty_like(left), torch.zeros_like(right)
        of_parts = of_left.chunk(ctx.ranks.size, dim=-1)
        for owner, block in around(gradient.contiguous(), ctx.ranks):
            of_parts[owner].copy_(torch.matmul(right, block.transpose(-1, -2)))
            of_right += torch.matmul(parts[owner], block)
        return of_left, of_right, None


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
