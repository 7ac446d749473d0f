"""The mean outer product as an operator of torch, with its gradient."""

import math
from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops
from foldcli_kernels.outer_product.backward import gradients
from foldcli_kernels.outer_product.launch import empty_pairs, launch_forward
from foldcli_kernels.tensors import refuse_gradient


@operator("outer_product_mean")
def _forward(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None, count: Tensor) -> Tensor:
    return launch_forward(left, right, weight, bias, count)


@_forward.register_fake
def _(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None, count: Tensor) -> Tensor:
    return empty_pairs(left, right, weight)


@operator("outer_product_mean_backward")
def _backward(
    grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return gradients(grad, left, right, weight, count)


@_backward.register_fake
def _(
    grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = left.new_empty(left.shape), right.new_empty(right.shape), weight.new_empty(weight.shape)
    return *like, weight.new_empty(weight.shape[0])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor], output: Tensor) -> None:
    left, right, weight, _, count = inputs
    ctx.save_for_backward(left, right, weight, count)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    left, right, weight, bias = _backward(grad, *ctx.saved_tensors)
    return left, right, weight, bias if ctx.needs_input_grad[3] else None, None


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(left: Shape, right: Shape, weight: Shape, *_: Any) -> int:
    """Of the outer products summed over sequences, and of their projection."""
    *batch, sequences, i, c = left
    j, e = right[-2:]
    return 2 * math.prod(batch) * i * j * c * e * (sequences + weight[0])


count_flops("outer_product_mean", _flops, first=1)


def outer_product_mean(left: Tensor, right: Tensor, projection: tuple[Tensor, Tensor | None], count: Tensor) -> Tensor:
    """Sum outer products of columns over sequences, project, divide by how many cover both (Suppl. Alg. 10).

    left: [*b, s, i, c]; right: [*b, s, j, e]; projection: weight [f, c e] and bias [f]; count: [*b, i, j], which gets
    no gradient. The result is [*b, i, j, f].
    """
    refuse_gradient("outer_product_mean", count)
    return _forward(left, right, *projection, count)


def add_outer_product_mean(
    z: Tensor, left: Tensor, right: Tensor, projection: tuple[Tensor, Tensor | None], count: Tensor
) -> Tensor:
    """Return pairs z [*b, i, j, f] with the mean outer product added. No gradients."""
    refuse_gradient("add_outer_product_mean", z, left, right)
    return launch_forward(left, right, *projection, count, z)
