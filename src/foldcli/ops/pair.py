"""The products that write the pair representation: triangle multiplication (Suppl. Alg. 11) and outer product (Alg. 10)."""

import torch

from foldcli.shapes import Float, Tensor


def gated_operands(
    z: Float[Tensor, "*b i k c_z"],
    weight: Float[Tensor, "c4 c_z"],
    bias: Float[Tensor, " c4"],
    mask: Float[Tensor, "*b i k"],
) -> tuple[Float[Tensor, "*b c i k"], Float[Tensor, "*b c i k"]]:
    """Project z to the left and right operand of a triangle product, gated and masked, channel first.

    weight stacks the left and right projection and the left and right gate. Channel first, since the product that
    follows is a batched matrix product over channels.
    """
    both = torch.matmul(weight, z.flatten(-3, -2).transpose(-1, -2)) + bias[:, None]
    value, gate = both.unflatten(-1, z.shape[-3:-1]).chunk(2, dim=-3)
    left, right = (value * gate.sigmoid() * mask.unsqueeze(-3)).chunk(2, dim=-3)
    return left, right


def triangle_product(
    left: Float[Tensor, "*b c i k"], right: Float[Tensor, "*b c j k"]
) -> Float[Tensor, "*b c i j"]:
    """Sum over k of left[i, k] right[j, k], channel by channel."""
    return torch.matmul(left, right.transpose(-1, -2))


def outer_product(
    left: Float[Tensor, "*b s i c"], right: Float[Tensor, "*b s j e"], weight: Float[Tensor, "c e f"]
) -> Float[Tensor, "*b i j f"]:
    """Sum over s of left[s, i, c] right[s, j, e] weight[c, e, f]."""
    i, c = left.shape[-2:]
    e, j = right.shape[-1], right.shape[-2]
    # [(i c), (e j)], so that the second product reads it in place, transposed, once for each i
    outer = torch.matmul(left.flatten(-2).transpose(-1, -2), right.transpose(-1, -2).flatten(-2))
    outer = outer.unflatten(-2, (i, c)).unflatten(-1, (e, j)).flatten(-3, -2)
    return torch.matmul(outer.transpose(-1, -2), weight.flatten(0, 1).unsqueeze(0))
