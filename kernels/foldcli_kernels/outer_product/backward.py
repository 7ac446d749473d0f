"""Gradients of the mean outer product, by products of torch over blocks of columns; no kernel of its own.

All of its work is plain matrix products with long inner sides (6,144 FLOPs a pair for each sequence, 1,048,576 for the
projection), which is where the vendor's library runs nearest to the roofline. A kernel could only save writing
the outer products and reading them again, which costs little in blocks that stay in or near the L2 cache. The gradient
of the outer products is computed twice, in blocks of i for the left factor and of j for the right one, so that each
factor's gradient is one product over its whole inner side: rounded once, and with no sum over blocks.
"""

import torch
from torch import Tensor

EPS = 1e-3
# Elements of the largest intermediate: 32 MB of bfloat16, or half as many elements as the pair gradient has, if that is
# more, since at great lengths too small blocks would leave most of a device idle.
BLOCK = 1 << 24


def gradients(
    grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of left, right, weight and bias, from that of the result [*b, i, j, f]."""
    grad_left, grad_right = left.new_empty(left.shape), right.new_empty(right.shape)
    grad_weight = torch.zeros_like(weight, dtype=torch.float32).T
    grad_bias = weight.new_zeros(weight.shape[0], dtype=torch.float32)
    entries = (x.reshape(-1, *x.shape[-3:]) for x in (grad, left, right, count.unsqueeze(-1), grad_left, grad_right))
    for to_pairs, a, b, covered, to_left, to_right in zip(*entries, strict=True):
        along_weight, along_bias = _of_parameters(to_pairs, a, b, weight, covered)
        grad_weight = grad_weight + along_weight
        grad_bias = grad_bias + along_bias
        to_left.copy_(_of_factor(to_pairs, b, weight, covered))
        weight_transposed = weight.unflatten(-1, (a.shape[-1], b.shape[-1])).transpose(-1, -2).flatten(-2)
        to_right.copy_(_of_factor(to_pairs.transpose(0, 1), a, weight_transposed, covered.transpose(0, 1)))
    return grad_left, grad_right, grad_weight.T.to(weight.dtype).contiguous(), grad_bias.to(weight.dtype)


def _blocks(grad: Tensor, weight: Tensor) -> list[tuple[int, int]]:
    """Return the first row of pairs of each block, and the first after it."""
    rows, length, _ = grad.shape
    size = max(1, max(BLOCK, grad.numel() // 2) // (length * weight.shape[1]))
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def _mean(grad: Tensor, count: Tensor) -> Tensor:
    """Return the gradient of a block's projected sums, from that of their means; in float32."""
    return grad.float() / (count.float() + EPS)


def _of_parameters(grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight, [c e, f], and bias in float32."""
    c, e = left.shape[-1], right.shape[-1]
    right_columns = right.transpose(-1, -2).flatten(-2)
    grad_weight = weight.new_zeros((c * e, weight.shape[0]), dtype=torch.float32)
    grad_bias = weight.new_zeros(weight.shape[0], dtype=torch.float32)
    for start, stop in _blocks(grad, weight):
        mean = _mean(grad[start:stop], count[start:stop])
        grad_bias += mean.sum((0, 1))
        # [(i c), (e j)], and so for each i the other side of a product over j
        outer = torch.mm(left[:, start:stop].flatten(-2).T, right_columns).view(stop - start, c * e, -1)
        grad_weight += torch.bmm(outer, mean.to(left.dtype)).sum(0, dtype=torch.float32)
    return grad_weight, grad_bias


def _of_factor(grad: Tensor, other: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Return the gradient [s, i, c] of the factor along the first axis of grad [i, j, f]; other: [s, j, e]."""
    e = other.shape[-1]
    c = weight.shape[1] // e
    other_columns = other.transpose(-1, -2).flatten(-2)
    found = []
    for start, stop in _blocks(grad, weight):
        mean = _mean(grad[start:stop], count[start:stop]).to(other.dtype)
        # bmm: matmul of a broadcast weight would return a transpose, which view would not take.
        outer = torch.bmm(weight.T.expand(stop - start, -1, -1), mean.transpose(-1, -2))
        found.append(torch.mm(other_columns, outer.view((stop - start) * c, -1).T))
    return torch.cat(found, dim=-1).unflatten(-1, (-1, c))
