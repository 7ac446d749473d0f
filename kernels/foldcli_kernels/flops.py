"""Floating-point operations of the operators' matrix products, told to torch's counter.

They are those of the plain PyTorch body, forward and backward, so that either gives the same figure; what a kernel
computes again in its backward pass is not counted.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

# The counter hands shapes in the place of tensors.
Shape = Sequence[int]


def count_flops(operator: str, forward: Callable[..., int], first: int) -> None:
    """Register the formula of an operator and of its backward one, whose products are twice those of the forward pass.

    first: how many gradients the backward operator takes before the arguments of the forward one. forward must take
    any further arguments, since neither operator has exactly the other's.
    """
    operators = torch.ops.foldcli

    def backward(*args: Any, out_shape: Any = None) -> int:
        return 2 * forward(*args[first:])

    def counted(*args: Any, out_shape: Any = None) -> int:
        return forward(*args)

    register_flop_formula(getattr(operators, operator))(counted)
    register_flop_formula(getattr(operators, f"{operator}_backward"))(backward)


def projections(x: Shape, *weights: Shape) -> int:
    """FLOPs of multiplying the rows of x by weights [out, in]; a weight's input may be another layer's output."""
    return 2 * math.prod(x[:-1]) * sum(map(math.prod, weights))
