"""Residual with dropout as an operator of torch, with its gradient."""

from typing import Any

import torch
from torch import Tensor

from foldcli_kernels.calls import operator
from foldcli_kernels.dropout.launch import launch


def _like(x: Tensor, update: Tensor) -> Tensor:
    return torch.empty_like(x, dtype=torch.promote_types(x.dtype, update.dtype))


@operator("dropout_add")
def _forward(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    return launch(x, update, seed, rate, shared, _like(x, update))


@operator("dropout_add_backward")
def _backward(grad: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    """Return the gradient of the update."""
    return launch(None, grad, seed, rate, shared, torch.empty_like(grad))


@_forward.register_fake
def _(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    return _like(x, update)


@_backward.register_fake
def _(grad: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    return torch.empty_like(grad)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, update, seed, ctx.rate, ctx.shared = inputs
    ctx.dtypes = x.dtype, update.dtype
    ctx.save_for_backward(seed)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    of_update = _backward(grad, *ctx.saved_tensors, ctx.rate, ctx.shared)
    return grad.to(ctx.dtypes[0]), of_update.to(ctx.dtypes[1]), None, None, None


_forward.register_autograd(_gradients, setup_context=_save)


def dropout_add(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int, training: bool = True) -> Tensor:
    """Add an update with dropout: a share `rate` is zero, the rest scaled by 1 / (1 - rate), alike along axis `shared`.

    x, update: [*b, c] with any strides; seed: one int64 on their device; shared: any axis but the last. The mask is
    that of foldcli.ops.dropout, bit for bit.
    """
    if not training or rate == 0:
        return x + update
    if shared in (-1, x.dim() - 1):
        raise ValueError("dropout_add: the mask can be shared along any axis but the last")
    return _forward(x, update, seed, rate, shared)
