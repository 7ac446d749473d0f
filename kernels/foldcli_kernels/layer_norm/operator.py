"""The layer norm as an operator of torch, with its gradient."""

from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.layer_norm.launch import launch_backward, launch_forward
from foldcli_kernels.tensors import empty_rows


@operator("layer_norm")
def _forward(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return launch_forward(x, scale, offset)


@operator("layer_norm_backward")
def _backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return launch_backward(grad, x, scale)


@_forward.register_fake
def _(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return empty_rows(x, x.shape[-1])


@_backward.register_fake
def _(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return empty_rows(x, x.shape[-1]), scale.new_empty(2, scale.shape[0])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    x, scale, _ = inputs
    ctx.save_for_backward(x, scale)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, of_norm = _backward(grad, *ctx.saved_tensors)
    return grad_x, *of_norm.unbind()


_forward.register_autograd(_gradients, setup_context=_save)


def layer_norm(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift; the result keeps the memory order of x.

    x: [*b, c] of bfloat16, float16 or float32 with any strides; norm: scale [c] and offset [c].
    """
    return _forward(x, *norm)
