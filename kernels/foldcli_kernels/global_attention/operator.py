"""Global attention as an operator of torch, with its gradient."""

import math
from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops
from foldcli_kernels.global_attention.launch import empty_outputs, launch_backward, launch_forward
from foldcli_kernels.tensors import refuse_gradient


@operator("global_attention")
def _forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return launch_forward(q, k, v, mask)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return empty_outputs(q)


@operator("global_attention_backward")
def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, out: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return launch_backward(grad, q, k, v, mask, out, statistics)


@_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, out: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, *output)
    ctx.set_materialize_grads(False)  # none of zeros for the statistics


def _gradients(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return *_backward(grad, *ctx.saved_tensors), None


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(q: Shape, k: Shape, *_: Any) -> int:
    """Of queries by keys, and of weights by values."""
    return 4 * math.prod(q) * k[-2]


count_flops("global_attention", _flops, first=1)


def global_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attend with one query a head for each of n columns to keys and values that the heads share (Suppl. Alg. 19).

    q: [*b, n, h, d]; k and v: [*b, n, s, d] with any strides, such as halves of one projection; mask: [*b, n, s], 1
    where a key may be attended to; it gets no gradient. A column with every key masked attends evenly.
    """
    refuse_gradient("global_attention", mask)
    return _forward(q, k, v, mask)[0]
