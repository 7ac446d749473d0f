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


class RingContract(torch.autograd.Function):
    """Sum over k of left[i, k] right[j, k] for this rank's i and all j; only this rank's operands are kept.

    In the backward pass the right operand travels once more, and beside it the sums that become its gradient, which
    after a whole turn reach the rank whose they are.
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
        ranks: Axis = ctx.ranks
        parts = gradient.chunk(ranks.size, dim=-1)
        of_left, travelling = torch.zeros_like(left), None
        for step, (owner, block) in enumerate(around(right, ranks)):
            of_left += torch.matmul(parts[owner], block)
            # what leaves here now ends its turn, after all other ranks, where it belongs
            addressee = (ranks.rank - step - 1) % ranks.size
            sums = torch.matmul(parts[addressee].transpose(-1, -2), left)
            of_right = sums if travelling is None else sums + wait(travelling)
            travelling = pass_on(of_right, ranks, 1) if step + 1 < ranks.size else None
        return of_left, of_right, None
