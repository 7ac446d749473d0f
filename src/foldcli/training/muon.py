"""Muon: the momentum of each weight matrix, orthogonalised (Jordan et al. 2024), in steps scaled like Adam's.

Equal to torch.optim.Muon with `match_rms_adamw` (Liu et al. 2025, arXiv:2502.16982) and no weight decay, but for
rounding: matrices are orthogonalised together, in stacks that are filled up with zeros, which stay zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from foldcli.shapes import Float, Int, Tensor
from foldcli.training.flat_parameters import FlatParameters, Place

MOMENTUM = 0.95
# Coefficients of the iteration, and how often it runs.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# To share stacks, matrices with up to FEW rows are filled up to as many, others to multiples of MANY; columns to MANY.
FEW, MANY = 64, 256


@dataclass(frozen=True)
class Stack:
    """Matrices of one shape, the shorter side first, at `start` of the buffer, `room` apart; among others in a stack.

    first: the first one's place in the stack of its size; scale: of its updates.
    """

    count: int
    shape: tuple[int, int]
    start: int
    room: int
    size: tuple[int, int]
    first: int
    scale: float
    turned: bool

    def inside(self, buffer: Tensor) -> Float[Tensor, "n a b"]:
        """These matrices in a buffer of all parameters."""
        rows, columns = self.shape
        steps = (self.room, 1, rows) if self.turned else (self.room, columns, 1)
        return buffer.as_strided((self.count, rows, columns), steps, self.start)

    def among(self, matrices: Float[Tensor, "n c d"]) -> Float[Tensor, "n a b"]:
        """These matrices in the stack of their size."""
        rows, columns = self.shape
        return matrices[self.first : self.first + self.count, :rows, :columns]


class Muon:
    """Updates the matrices of flat parameters.

    where: for each element of these its place in the stacks, which lie one after another; for a gap the one behind
    them. One look-up with it takes far fewer launches than copies of matrices, shape by shape.
    """

    def __init__(self, flat: FlatParameters) -> None:
        self.masters = flat.masters[: flat.matrices]
        self.momentum = torch.zeros_like(self.masters)
        stacks: dict[tuple[int, int], list[Stack]] = {}
        for places in flat.stacks():
            size = stack_size(places[0].shape)
            same = stacks.setdefault(size, [])
            same.append(_stack(places, size, sum(stack.count for stack in same)))
        self.sizes = [(sum(stack.count for stack in same), *size) for size, same in stacks.items()]
        self.scales = [_scales(same).to(flat.device) for same in stacks.values()]
        self.room = sum(math.prod(size) for size in self.sizes)
        self.where = torch.full((flat.matrices,), self.room)
        for matrices, same in zip(self._stacks(torch.arange(self.room + 1)), stacks.values(), strict=True):
            for stack in same:
                stack.inside(self.where).copy_(stack.among(matrices))
        self.where = self.where.to(flat.device)

    def step(self, gradient: Float[Tensor, " n"], rate: Float[Tensor, ""], taken: Float[Tensor, ""]) -> None:
        """Take a step with the gradient of the matrices; taken: 1, or 0 to change nothing."""
        self.momentum.lerp_(gradient, (1 - MOMENTUM) * taken)
        filled = gradient.new_zeros(self.room + 1, dtype=torch.bfloat16)
        filled[self.where] = gradient.lerp(self.momentum, MOMENTUM).bfloat16()
        updates = torch.zeros_like(filled, dtype=gradient.dtype)
        for matrices, scale, update in zip(self._stacks(filled), self.scales, self._stacks(updates), strict=True):
            torch.mul(orthogonal(matrices), scale, out=update)
        self.masters.addcmul_(updates[self.where], -rate * taken)

    def _stacks(self, filled: Float[Tensor, " m"] | Int[Tensor, " m"]) -> list[Tensor]:
        """All stacks [n, c, d] in what lies one after another."""
        parts = filled[: self.room].split([math.prod(size) for size in self.sizes])
        return [part.view(size) for part, size in zip(parts, self.sizes, strict=True)]


def _scales(stacks: list[Stack]) -> Float[Tensor, "n 1 1"]:
    """Of the updates of each matrix in a stack; in float32, which they become so."""
    return torch.tensor([stack.scale for stack in stacks for _ in range(stack.count)]).view(-1, 1, 1)


def stack_size(shape: Sequence[int]) -> tuple[int, int]:
    """The size that a matrix is filled up to: few sizes, so that there are few stacks."""
    rows, columns = sorted(shape)
    rows = FEW if rows <= FEW else -(-rows // MANY) * MANY
    return rows, max(rows, MANY, 1 << (columns - 1).bit_length())


def _stack(places: list[Place], size: tuple[int, int], first: int) -> Stack:
    rows, columns = places[0].shape
    turned = rows > columns
    shape = (columns, rows) if turned else (rows, columns)
    scale = 0.2 * max(shape) ** 0.5
    return Stack(len(places), shape, places[0].start, places[0].room, size, first, scale, turned)


def orthogonal(matrices: Float[Tensor, "n a b"]) -> Float[Tensor, "n a b"]:
    """Set all singular values, but zeros, near 1 by Newton-Schulz iteration."""
    a, b, c = QUINTIC
    norm = torch.linalg.vector_norm(matrices, dim=(-1, -2), keepdim=True)
    x = matrices / norm.clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
