"""Gradients of the mean outer product, by products of torch over blocks of pairs; no kernel of its own.

All of its work is plain matrix products with long inner sides (6,144 FLOPs a pair for each sequence, 1,048,576 for the
projection), which is where the vendor's library runs nearest to the roofline. A kernel could only save writing
the outer products and reading them again, which costs little in blocks that stay in or near the L2 cache. The gradient
of the outer products is computed twice, in blocks of i for the left factor and of j for the right one, so that each
factor's gradient is one product over its whole inner side: rounded once, and with no sum over blocks. Many short
samples share a block; of a long one a block is some rows of pairs.
"""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

EPS = 1e-3
# Elements of the largest intermediate: 32 MB of bfloat16, or half as many elements as the gradient of all pairs has, if
# that is more, since too small blocks would leave most of a device idle.
BLOCK = 1 << 24


def gradients(
    grad: Tensor, left: Tensor, right: Tensor, weight: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of left, right, weight and bias, from that of the result [*b, i, j, f]."""
    shapes = left.shape, right.shape
    grad, left, right = (x.reshape(-1, *x.shape[-3:]) for x in (grad, left, right))
    mean = _mean(grad, count.reshape(-1, *count.shape[-2:], 1))
    grad_bias = mean.sum((0, 1, 2)).to(weight.dtype)
    mean = mean.to(left.dtype)
    left_columns, right_columns = (x.transpose(-1, -2).flatten(-2) for x in (left, right))
    grad_weight = _of_weight(mean, left, right_columns, weight)
    grad_left = _of_factor(mean, right_columns, weight)
    transposed = weight.unflatten(-1, (left.shape[-1], right.shape[-1])).transpose(-1, -2).flatten(-2)
    grad_right = _of_factor(mean.transpose(1, 2), left_columns, transposed)
    return grad_left.reshape(shapes[0]), grad_right.reshape(shapes[1]), grad_weight, grad_bias


def _mean(grad: Tensor, count: Tensor) -> Tensor:
    """Return the gradient of the projected sums, from that of their means; in float32."""
    return grad / (count.float() + EPS)


def _blocks(mean: Tensor, weight: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield the samples and the rows of pairs of each block."""
    samples, rows, length, _ = mean.shape
    most = max(1, max(BLOCK, mean.numel() // 2) // (length * weight.shape[1]))
    together = max(1, most // rows)
    for sample in range(0, samples, together):
        for row in range(0, rows, min(most, rows)):
            yield slice(sample, sample + together), slice(row, row + most)


def _of_weight(mean: Tensor, left: Tensor, right_columns: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of weight [f, c e]; mean: of the projected sums' means [b, i, j, f]."""
    parts: list[Tensor] = []
    for samples, rows in _blocks(mean, weight):
        part = left[samples, :, rows].flatten(-2).transpose(-1, -2)
        # [(i c), (e j)], and so for each i the other side of a product over j
        outer = torch.bmm(part, right_columns[samples]).view(-1, weight.shape[1], mean.shape[2])
        parts.append(torch.bmm(outer, mean[samples, rows].flatten(0, 1)).sum(0, dtype=torch.float32))
    found = functools.reduce(torch.add, parts)
    return found.T.to(weight.dtype, memory_format=torch.contiguous_format)


def _of_factor(mean: Tensor, other_columns: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient [b, s, i, c] of the factor along the second axis of mean [b, i, j, f].

    other_columns: the other factor [b, s, (e j)].
    """
    samples, sequences, columns = other_columns.shape
    length = mean.shape[2]
    c = weight.shape[1] * length // columns
    found = other_columns.new_empty((samples, sequences, mean.shape[1], c))
    for chosen, rows in _blocks(mean, weight):
        part = mean[chosen, rows]
        flat = part.flatten(0, 1).transpose(-1, -2)
        # bmm: matmul of a broadcast weight would return a transpose, which view would not take.
        outer = torch.bmm(weight.T.expand(flat.shape[0], -1, -1), flat)
        product = torch.bmm(other_columns[chosen], outer.view(part.shape[0], -1, columns).transpose(-1, -2))
        found[chosen, :, rows] = product.unflatten(-1, (-1, c))
    return found
