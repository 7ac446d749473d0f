"""Layer norm and several projections of its result as an operator of torch, with its gradient."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops, projections
from foldcli_kernels.norm_linear.launch import empty_results, launch_added, launch_backward, launch_forward
from foldcli_kernels.shares import sections
from foldcli_kernels.tensors import empty_rows, refuse_gradient

# How many projections one pass takes: queries, keys, values and gates packed, and the pair bias besides.
PROJECTIONS_PER_PASS = 2


# biases: those that exist, in order; biased: which projections have one. An operator's schema has no list of optional
# tensors that autograd passes through.
@operator("norm_linear")
def _forward(
    x: Tensor,
    scale: Tensor,
    offset: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    biased: Sequence[bool],
    keep: Tensor | None,
) -> list[Tensor]:
    return launch_forward(x, scale, offset, weights, _one_each(biases, biased), keep)


@operator("norm_linear_backward")
def _backward(
    grads: Sequence[Tensor], x: Tensor, scale: Tensor, offset: Tensor, weights: Sequence[Tensor], biased: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    return launch_backward(grads, x, scale, offset, weights, biased)


@_forward.register_fake
def _(
    x: Tensor,
    scale: Tensor,
    offset: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    biased: Sequence[bool],
    keep: Tensor | None,
) -> list[Tensor]:
    return empty_results(x, weights, _one_each(biases, biased))


@_backward.register_fake
def _(
    grads: Sequence[Tensor], x: Tensor, scale: Tensor, offset: Tensor, weights: Sequence[Tensor], biased: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    size = sum(math.prod(shape) for shape in _shapes(scale, weights, biased))
    return empty_rows(x, x.shape[-1]), scale.new_empty(size)


def _shapes(scale: Tensor, weights: Sequence[Tensor], biased: Sequence[bool]) -> list[Sequence[int]]:
    """Return the shapes of the parameters in the order of their gradients."""
    layers = zip(weights, biased, strict=True)
    return [scale.shape, scale.shape, *(s for w, b in layers for s in (w.shape, w.shape[:1])[: 1 + b])]


def _one_each(biases: Sequence[Tensor], biased: Sequence[bool]) -> list[Tensor | None]:
    """Return one bias for each projection, None where it has none."""
    present = iter(biases)
    return [next(present) if has_bias else None for has_bias in biased]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, scale, offset, weights, _, biased, keep = inputs
    ctx.biased = biased
    ctx.save_for_backward(x, scale, offset, keep, *weights)
    ctx.results = [(y.shape, y.dtype) for y in output]


def _gradients(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    x, scale, offset, keep, *weights = ctx.saved_tensors
    # A result that was not used has no gradient.
    known = [
        x.new_zeros(shape, dtype=dtype) if grad is None else grad
        for grad, (shape, dtype) in zip(grads, ctx.results, strict=True)
    ]
    if keep is not None:
        known = [grad * keep.unsqueeze(-1) for grad in known]
    grad_x, flat = _backward(known, x, scale, offset, weights, ctx.biased)
    of_scale, of_offset, *layers = sections(flat, _shapes(scale, weights, ctx.biased))
    of_weights, of_biases = ([part for part in layers if part.dim() == axes] for axes in (2, 1))
    return grad_x, of_scale, of_offset, of_weights, of_biases, None, None


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(x: Shape, scale: Shape, offset: Shape, weights: Sequence[Shape], *_: Any) -> int:
    return projections(x, *weights)


count_flops("norm_linear", _flops, first=1)


def norm_linear(
    x: Tensor, norm: tuple[Tensor, Tensor], projections: Sequence[tuple[Tensor, Tensor | None]],
    mask: Tensor | None = None,
) -> list[Tensor]:  # fmt: skip
    """Project one normalised input several times, in one pass over it for every two; layout: see `empty_results`.

    x: [*b, c] of bfloat16, float16 or float32, its leading axes with any strides; norm: scale [c] and offset [c];
    projections: weight [out, c] and bias [out] or None; mask: [*b], by which the results are multiplied; it gets no
    gradient.
    """
    if mask is not None:
        refuse_gradient("norm_linear", mask)
    results: list[Tensor] = []
    for first in range(0, len(projections), PROJECTIONS_PER_PASS):
        weights, biases = zip(*projections[first : first + PROJECTIONS_PER_PASS], strict=True)
        present = [bias for bias in biases if bias is not None]
        biased = [bias is not None for bias in biases]
        results += _forward(x, *norm, list(weights), present, biased, mask)
    return results


def add_norm_linear(
    x: Tensor, update: Tensor, output: tuple[Tensor, Tensor], norm: tuple[Tensor, Tensor],
    projections: Sequence[tuple[Tensor, Tensor | None]],
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Add a projected update to x; return the sum, and one or two projections of it normalised. No gradients.

    x: [*b, c] in half precision, c at most 256; update: [*b, e]; output: weight [c, e] and bias [c].
    """
    refuse_gradient("add_norm_linear", x, update, *output)
    weights, biases = zip(*projections, strict=True)
    return launch_added(x, norm, (update, *output), weights, biases)
