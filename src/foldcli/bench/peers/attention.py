"""Attention with a bias by others; rows of n positions, [g, h, n, d], bias [h, n, n], mask [g, n] without gaps."""

import importlib
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """PyTorch's own; without the mask, since added to the bias it would be a tensor of n^3 heads."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0).expand(len(q), -1, -1, -1))


def trifast(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """trifast, which wants heads before rows, and true where a key is masked."""
    ordered = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    function = importlib.import_module("trifast").triangle_attention
    return function(*ordered, bias.unsqueeze(0), mask.unsqueeze(0) == 0)[0].transpose(0, 1)


def cuequivariance(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """NVIDIA's cuEquivariance, which wants the bias in float32."""
    function = importlib.import_module("cuequivariance_torch").triangle_attention
    keys = (mask != 0)[None, :, None, None, :]
    return function(q[None], k[None], v[None], bias[None, None].float(), keys)[0]
