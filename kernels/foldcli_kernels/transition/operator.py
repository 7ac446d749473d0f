"""The transition as an operator of torch, with its gradient; nothing of its hidden layer is kept."""

import math
from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops, projections
from foldcli_kernels.shares import sections
from foldcli_kernels.tensors import empty_rows, refuse_gradient
from foldcli_kernels.transition.launch import launch_backward, launch_forward


@operator("transition")
def _forward(
    x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, contract_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    return launch_forward(x, scale, offset, expand, expand_bias, contract, contract_bias)


@operator("transition_backward")
def _backward(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, biased: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return launch_backward(grad, x, scale, offset, expand, expand_bias, contract, biased)


@_forward.register_fake
def _(
    x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, contract_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    return empty_rows(x, x.shape[-1])


@_backward.register_fake
def _(
    grad: Tensor, x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, biased: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    size = sum(math.prod(shape) for shape in _shapes(expand, expand_bias, biased))
    return empty_rows(x, x.shape[-1]), contract.new_empty(size)


def _shapes(expand: Tensor, expand_bias: Tensor | None, biased: bool) -> list[tuple[int, ...]]:
    """Return the shapes of scale, offset, contracting bias, both weights and expanding bias; of no bias, [0]."""
    hidden, width = expand.shape
    biases = (width if biased else 0,), (0 if expand_bias is None else hidden,)
    return [(width,), (width,), biases[0], (hidden, width), (width, hidden), biases[1]]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *saved, contract_bias = inputs
    ctx.biased = contract_bias is not None
    ctx.save_for_backward(*saved)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    _, _, _, expand, expand_bias, _ = ctx.saved_tensors
    grad_x, flat = _backward(grad, *ctx.saved_tensors, ctx.biased)
    found = sections(flat, _shapes(expand, expand_bias, ctx.biased))
    scale, offset, contract_bias, expand, contract, expand_bias = (part if part.numel() else None for part in found)
    return grad_x, scale, offset, expand, expand_bias, contract, contract_bias


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(x: Shape, scale: Shape, offset: Shape, expand: Shape, *_: Any) -> int:
    return 2 * projections(x, expand)  # the second layer's weight has the same size


count_flops("transition", _flops, first=1)


def transition(
    x: Tensor, norm: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor | None], contract: tuple[Tensor, Tensor | None]
) -> Tensor:
    """Apply layer norm and two layers with a rectifier between to every row (Suppl. Alg. 9, 15), in the order of x.

    x: [*b, c] of bfloat16, float16 or float32, its leading axes with any strides; norm: scale [c] and offset [c];
    expand: weight [h, c], bias [h] or None; contract: weight [c, h], bias [c] or None. Memory is read and written
    once; backward computes the hidden layer twice more.
    """
    return _forward(x, *norm, *expand, *contract)


def add_transition(
    x: Tensor, update: Tensor, output: tuple[Tensor, Tensor], norm: tuple[Tensor, Tensor],
    expand: tuple[Tensor, Tensor], contract: tuple[Tensor, Tensor],
) -> Tensor:  # fmt: skip
    """Add a projected update to x, then to their sum its transition. No gradients.

    x: [*b, c] in half precision, c at most 256; update: [*b, e]; output: weight [c, e] and bias [c].
    """
    refuse_gradient("add_transition", x, update, *output)
    return launch_forward(x, *norm, *expand, *contract, (update, *output))
