"""Attention with a pair bias by other libraries.

q, k, v [g, h, n, d] for g rows, h heads, n positions, d channels; bias [h, n, n]; mask [g, n] with no position masked.
"""

import importlib
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def sdpa(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """PyTorch's scaled_dot_product_attention; without the mask, which would expand the bias to [g, h, n, n]."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0).expand(len(q), -1, -1, -1))


def trifast(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """trifast: heads before rows, and a mask that is true where a key is masked."""
    ordered = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    function = importlib.import_module("trifast").triangle_attention
    return function(*ordered, bias.unsqueeze(0), mask.unsqueeze(0) == 0)[0].transpose(0, 1)


def cuequivariance(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """NVIDIA's cuEquivariance: bias in float32."""
    function = importlib.import_module("cuequivariance_torch").triangle_attention
    keys = (mask != 0)[None, :, None, None, :]
    return function(q[None], k[None], v[None], bias[None, None].float(), keys)[0]
