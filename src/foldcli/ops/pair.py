"""Products that update the pairs: triangle multiplication (Suppl. Alg. 11) and outer product mean (Alg. 10)."""

import torch
import torch.nn.functional as F

from foldcli.ops.dense import Dense, Norm, layer_norm
from foldcli.ops.dispatch import dispatched, too_wide
from foldcli.shapes import Float, Tensor


def _unsupported_operands(z: Tensor, norm: Norm, projection: Dense, *_: Tensor) -> str:
    return too_wide(max(z.shape[-1], projection[0].shape[0] // 4), 128)


def _unsupported_update(product: Tensor, z: Tensor, *_: object) -> str:
    return too_wide(max(z.shape[-1], product.shape[-3]), 128)


def _unsupported_outer(left: Tensor, right: Tensor, projection: Dense, *_: Tensor) -> str:
    return too_wide(max(left.shape[-1], right.shape[-1]), 32) or too_wide(projection[0].shape[0], 128)


@dispatched("foldcli_kernels.triangle_multiplication:triangle_operands", _unsupported_operands)
def triangle_operands(
    z: Float[Tensor, "*b i k c_z"], norm: Norm, projection: Dense, mask: Float[Tensor, "*b i k"]
) -> tuple[Float[Tensor, "*b c i k"], Float[Tensor, "*b c i k"]]:
    """Return both operands of a triangle product: layer norm, projection, gate and mask (Alg. 11, lines 1 and 2).

    projection stacks left and right values and left and right gates, c channels each. The result has channels first,
    since the product that follows is a matrix product batched over channels.
    """
    weight, bias = projection
    rows = layer_norm(z, norm).flatten(-3, -2)
    both = torch.matmul(weight.expand(*rows.shape[:-2], -1, -1), rows.transpose(-1, -2))
    both = both if bias is None else both.add_(bias[:, None])
    gated = F.glu(both.unflatten(-1, z.shape[-3:-1]), dim=-3)
    left, right = gated.mul_(mask.unsqueeze(-3)).chunk(2, dim=-3)
    return left, right


def triangle_product(left: Float[Tensor, "*b c i k"], right: Float[Tensor, "*b c j k"]) -> Float[Tensor, "*b c i j"]:
    """Sum over k of left[i, k] right[j, k], channel by channel."""
    return torch.matmul(left, right.transpose(-1, -2))


@dispatched("foldcli_kernels.triangle_multiplication:triangle_update", _unsupported_update)
def triangle_update(
    product: Float[Tensor, "*b c i j"],
    z: Float[Tensor, "*b i j c_z"],
    center: Norm,
    output: Dense,
    norm: Norm,
    gate: Dense,
) -> Float[Tensor, "*b i j c_z"]:
    """Normalise and project the product, gated by the normalised pairs it started from (Alg. 11, lines 3 and 4)."""
    update = F.linear(layer_norm(product.movedim(-3, -1), center), *output)
    return update * F.linear(layer_norm(z, norm), *gate).sigmoid_()


@dispatched("foldcli_kernels.outer_product:outer_product_mean", _unsupported_outer)
def outer_product_mean(
    left: Float[Tensor, "*b s i c"], right: Float[Tensor, "*b s j e"], projection: Dense, count: Float[Tensor, "*b i j"]
) -> Float[Tensor, "*b i j f"]:
    """Sum outer products of columns over sequences, project, divide by how many cover both (Alg. 10).

    projection: weight [f, c e] and bias [f]; count: how many sequences cover both i and j.
    """
    weight, bias = projection
    i, c = left.shape[-2:]
    # [(i c), (e j)], which the second product reads in place, once for each i
    outer = torch.matmul(left.flatten(-2).transpose(-1, -2), right.transpose(-1, -2).flatten(-2))
    outer = outer.unflatten(-2, (i, c)).unflatten(-1, (right.shape[-1], -1)).flatten(-3, -2)
    update = torch.matmul(weight.expand(*outer.shape[:-2], -1, -1), outer).transpose(-1, -2)
    return (update if bias is None else update + bias) / (count.unsqueeze(-1) + 1e-3)
