"""The operands of a triangle product as an operator of torch, with its gradient."""

from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops, projections
from foldcli_kernels.tensors import empty_rows, refuse_gradient
from foldcli_kernels.triangle_multiplication.launch import gradient_size, split_gradients
from foldcli_kernels.triangle_multiplication.operands_launch import empty_operand, launch_backward, launch_forward


@operator("triangle_operands")
def _forward(
    z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor]:
    return launch_forward(z, scale, offset, weight, bias, mask)


@_forward.register_fake
def _(
    z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor]:
    return empty_operand(z, weight.shape[0] // 4), empty_operand(z, weight.shape[0] // 4)


@operator("triangle_operands_backward")
def _backward(
    grad_left: Tensor, grad_right: Tensor, z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor,
    bias: Tensor | None, mask: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return launch_backward(grad_left, grad_right, z, scale, offset, weight, bias, mask)


@_backward.register_fake
def _(
    grad_left: Tensor, grad_right: Tensor, z: Tensor, scale: Tensor, offset: Tensor, weight: Tensor,
    bias: Tensor | None, mask: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return empty_rows(z, z.shape[-1]), weight.new_empty(gradient_size(weight))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad_left: Tensor, grad_right: Tensor) -> tuple[Tensor | None, ...]:
    z, grads = _backward(grad_left, grad_right, *ctx.saved_tensors)
    weight, bias, scale, offset = split_gradients(grads, ctx.saved_tensors[3])
    return z, scale, offset, weight, bias if ctx.needs_input_grad[4] else None, None


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(z: Shape, scale: Shape, offset: Shape, weight: Shape, *_: Any) -> int:
    return projections(z, weight)


count_flops("triangle_operands", _flops, first=2)


def triangle_operands(
    z: Tensor, norm: tuple[Tensor, Tensor], projection: tuple[Tensor, Tensor | None], mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Return left and right operand of a triangle product: layer norm, projection, gate, mask (Alg. 11, lines 1, 2).

    z: [*b, i, k, c_z] with any strides; norm: scale and offset [c_z]; projection: weight [4 c, c_z] and bias [4 c] of
    the left and right values and the left and right gates; mask: [*b, i, k], which gets no gradient. Both results are
    [*b, c, i, k].
    """
    refuse_gradient("triangle_operands", mask)
    return _forward(z, *norm, *projection, mask)
