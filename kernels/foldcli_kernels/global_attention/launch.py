"""Launches the global attention kernels."""

import torch
from torch import Tensor

from foldcli_kernels.global_attention import backward, forward
from foldcli_kernels.global_attention.tiles import tile_of
from foldcli_kernels.tensors import one_batch


def launch_forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result, and the largest logit and the sum of weights of each query for the gradient."""
    out, statistics = empty_outputs(q)
    q, k, v, mask = one_batch(q), one_batch(k), one_batch(v), mask.reshape(-1, *mask.shape[-2:])
    batch, columns, keys, _ = k.shape
    constants, options = tile_of("forward", q, keys)
    with torch.cuda.device_of(q):
        forward.global_attention_forward[(batch * columns,)](
            q, k, v, mask, out, statistics, columns, keys, q.shape[-1] ** -0.5, *q.stride()[:3], *k.stride()[:3],
            *v.stride()[:3], *mask.stride(), **constants, **options,
        )  # fmt: skip
    return out, statistics


def empty_outputs(q: Tensor) -> tuple[Tensor, Tensor]:
    """Return empty tensors for the result and the statistics."""
    return q.new_empty(q.shape), q.new_empty((*q.shape[:-2], 2, q.shape[-2]), dtype=torch.float32)


def launch_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, out: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values."""
    found = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
    grad, q, k, v, mask = one_batch(grad), one_batch(q), one_batch(k), one_batch(v), mask.reshape(-1, *mask.shape[-2:])
    batch, columns, keys, _ = k.shape
    constants, options = tile_of("backward", q, keys)
    with torch.cuda.device_of(q):
        backward.global_attention_backward[(batch * columns,)](
            grad, q, k, v, mask, out, statistics, *found, columns, keys, q.shape[-1] ** -0.5, *grad.stride()[:3],
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *mask.stride(), **constants, **options,
        )  # fmt: skip
    return found
