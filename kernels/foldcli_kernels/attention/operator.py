"""Gated attention with pair bias as an operator of torch, with its gradient (Suppl. Alg. 7, 8, 13, 14)."""

import math
from typing import Any

import torch
from torch import Tensor

from foldcli_kernels.attention.launch import (
    Fill,
    channels_adjacent,
    empty_fill,
    empty_outputs,
    fill_mask,
    fill_type,
    launch_backward,
    launch_forward,
    padded_length,
)
from foldcli_kernels.attention.tiles import DIMS
from foldcli_kernels.calls import operator
from foldcli_kernels.flops import Shape, count_flops
from foldcli_kernels.tensors import refuse_gradient


@operator("gated_attention")
def _forward(
    packed: Tensor, gate_bias: Tensor, heads: int, mask: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the result, and for the gradient log-sum-exps and what the kernels read in place of the mask."""
    fill = fill_mask(mask, fill_type(bias))
    return *launch_forward(packed, gate_bias, heads, fill, bias), *fill


@_forward.register_fake
def _(
    packed: Tensor, gate_bias: Tensor, heads: int, mask: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return *empty_outputs(packed, heads), *empty_fill(mask, fill_type(bias))


@operator("gated_attention_backward")
def _backward(
    grad: Tensor, packed: Tensor, gate_bias: Tensor, heads: int, bias: Tensor | None, out: Tensor, lse: Tensor,
    keys: Tensor, unit: Tensor, bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    grad_packed, grad_gate_bias, grad_pair_bias = launch_backward(
        grad, packed, gate_bias, heads, (keys, unit), bias, out, lse, bias_grad
    )
    # An operator's result cannot be None.
    return grad_packed, grad_gate_bias, packed.new_empty(0) if grad_pair_bias is None else grad_pair_bias


@_backward.register_fake
def _(
    grad: Tensor, packed: Tensor, gate_bias: Tensor, heads: int, bias: Tensor | None, out: Tensor, lse: Tensor,
    keys: Tensor, unit: Tensor, bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    grad_pair_bias = packed.new_empty(0)
    if bias is not None and bias_grad:
        *others, n = bias.shape
        grad_pair_bias = bias.new_empty((*others, padded_length(n)))[..., :n]
    return torch.empty_like(channels_adjacent(packed)), torch.empty_like(gate_bias), grad_pair_bias


def _save(
    ctx: Any, inputs: tuple[Tensor, Tensor, int, Tensor, Tensor | None], output: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    packed, gate_bias, ctx.heads, _, bias = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # none of zeros for those
    ctx.save_for_backward(packed, gate_bias, bias, *output)


def _gradients(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor, Tensor, None, None, Tensor | None]:
    packed, gate_bias, *saved = ctx.saved_tensors
    wanted = ctx.needs_input_grad[4]
    grads = _backward(grad, packed, gate_bias, ctx.heads, *saved, wanted)
    return grads[0], grads[1], None, None, grads[2] if wanted else None


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(packed: Shape, *_: Any) -> int:
    """FLOPs of the products of queries with keys, and of attention weights with values."""
    return 4 * math.prod(packed[:-1]) * packed[-2] * (packed[-1] // 4)


count_flops("gated_attention", _flops, first=1)


def key_fill(mask: Tensor, dtype: torch.dtype) -> Fill:
    """Return what the kernels read in place of a mask [*b, g, n], made once for several calls.

    dtype: of the bias in those calls, float32 where they have none.
    """
    return fill_mask(_join_batch(mask, 2), dtype)


def gated_attention(
    packed: Tensor, gate_bias: Tensor, heads: int, mask: Tensor, bias: Tensor | None = None, fill: Fill | None = None
) -> Tensor:
    """Attend within each of g rows of n positions, and gate the result; in the memory order of `packed`.

    packed [*b, g, n, 4hd]: queries, keys, values and gates side by side, read in place, positions or rows first in
    memory; gate_bias [hd]; mask [*b, g, n], 1 where a key may be attended to (a row without any attends evenly); bias
    [*b, h, n, n], added to the logits of every row. Head dim 8, 16, 32 or 64. The mask has no gradient. fill: that of
    the mask by `key_fill`, where nothing has a gradient.
    """
    dim = packed.shape[-1] // (4 * heads)
    if dim not in DIMS:
        raise ValueError(f"head dim {dim} is none of {', '.join(map(str, DIMS))}")
    joined = None if bias is None else _join_batch(bias, 3)
    packed_rows = _join_batch(packed, 3)
    if fill is None:
        out, *_ = _forward(packed_rows, gate_bias, heads, _join_batch(mask, 2), joined)
    else:
        refuse_gradient("gated_attention", packed, gate_bias)
        out, _ = launch_forward(packed_rows, gate_bias, heads, fill, joined)
    return out.reshape(packed.shape[:-3] + out.shape[-3:])


def _join_batch(x: Tensor, axes: int) -> Tensor:
    """Return x with all axes before the last few as one."""
    return x.unsqueeze(0).flatten(0, -axes - 1)
