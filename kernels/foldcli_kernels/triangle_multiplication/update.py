"""The update by a triangle product as an operator of torch, with its gradient."""

from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops, projections
from foldcli_kernels.tensors import empty_rows, refuse_gradient
from foldcli_kernels.triangle_multiplication.launch import gradient_size, split_gradients
from foldcli_kernels.triangle_multiplication.update_launch import launch_backward, launch_forward


@operator("triangle_update")
def _forward(
    triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    return launch_forward(
        triangles, z, center_scale, center_offset, output, output_bias, scale, offset, gate, gate_bias
    )


@_forward.register_fake
def _(triangles: Tensor, z: Tensor, *_: Tensor | None) -> Tensor:
    return empty_rows(z, z.shape[-1])


@operator("triangle_update_backward")
def _backward(
    grad: Tensor, triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return launch_backward(
        grad, triangles, z, (center_scale, center_offset), (output, output_bias), (scale, offset), (gate, gate_bias)
    )


@_backward.register_fake
def _(
    grad: Tensor, triangles: Tensor, z: Tensor, center_scale: Tensor, center_offset: Tensor, output: Tensor,
    output_bias: Tensor | None, scale: Tensor, offset: Tensor, gate: Tensor, gate_bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    of_output, of_gate = (weight.new_empty(gradient_size(weight)) for weight in (output, gate))
    return triangles.new_empty(triangles.shape), empty_rows(z, z.shape[-1]), of_output, of_gate


def _save(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_triangles, grad_z, *grads = _backward(grad, *ctx.saved_tensors)
    of_output, of_gate = (split_gradients(g, w) for g, w in zip(grads, ctx.saved_tensors[4:9:4], strict=True))
    found = grad_triangles, grad_z, *of_output[2:], *of_output[:2], *of_gate[2:], *of_gate[:2]
    return tuple(value if needed else None for value, needed in zip(found, ctx.needs_input_grad, strict=True))


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(triangles: Shape, z: Shape, center_scale: Shape, center_offset: Shape, output: Shape, *others: Any) -> int:
    """others: the output's bias, scale and offset of the pairs' norm, then the gate's weight."""
    return projections(z, output, others[3])


count_flops("triangle_update", _flops, first=1)


def triangle_update(
    product: Tensor,
    z: Tensor,
    center: tuple[Tensor, Tensor],
    output: tuple[Tensor, Tensor | None],
    norm: tuple[Tensor, Tensor],
    gate: tuple[Tensor, Tensor | None],
) -> Tensor:
    """Normalise and project the product, gated by the normalised pairs it started from (Suppl. Alg. 11, lines 3, 4).

    product: [*b, c, i, j]; z: [*b, i, j, c_z] with any strides; center: scale and offset [c]; output: weight [c_z, c]
    and bias [c_z]; norm: scale and offset [c_z]; gate: weight [c_z, c_z] and bias [c_z]. The result is [*b, i, j, c_z]
    in the memory order of z.
    """
    return _forward(product, z, *center, *output, *norm, *gate)


def add_triangle_update(
    product: Tensor,
    z: Tensor,
    center: tuple[Tensor, Tensor],
    output: tuple[Tensor, Tensor | None],
    norm: tuple[Tensor, Tensor],
    gate: tuple[Tensor, Tensor | None],
) -> Tensor:
    """Return the pairs z with the update of `triangle_update` added. No gradients."""
    refuse_gradient("add_triangle_update", product, z)
    return launch_forward(product, z, *center, *output, *norm, *gate, True)
