"""Gated attention over rows, with a bias that all share (Suppl. Alg. 7, 8, 13, 14), and its global form (Alg. 19)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import is_fake

from foldcli.ops.dispatch import dispatched
from foldcli.ops.parts import in_parts
from foldcli.shapes import Float, Tensor

# Added to the logits of masked keys. Finite, so that a row with every key masked attends evenly and is not NaN.
MASK_BIAS = -1e9
# Bytes of the sum of bias and mask, which each row has of its own; where all would take more, rows are split.
MAX_SUM_BYTES = 64 << 20
# Bytes of logits that stay in a CPU's caches from one product to the next; where all would take more, rows are split.
MAX_LOGIT_BYTES = 4 << 20
# Head dims that the kernels have tiles for.
HEAD_DIMS = (8, 16, 32, 64)
# On a CPU, attention over rows up to these lengths writes its logits to memory: in bfloat16, whose products are far
# faster than torch's fused attention; and in training, which keeps the logits, where small crops come in batches.
MAX_EXPLICIT, MAX_EXPLICIT_TRAINING = 1024, 128
KeyFill = tuple[Tensor, Tensor]


def _unsupported_heads(packed: Tensor, gate_bias: Tensor, heads: int, *_: object) -> str:
    dim = packed.shape[-1] // (4 * heads)
    return "" if dim in HEAD_DIMS else f"head dim {dim} is none of 8, 16, 32, 64"


def _unsupported_global(q: Tensor, *_: Tensor) -> str:
    dim = q.shape[-1]
    return "" if dim in HEAD_DIMS else f"head dim {dim} is none of 8, 16, 32, 64"


@dispatched("foldcli_kernels.attention:key_fill")
def key_fill(mask: Float[Tensor, "*b g n"], dtype: torch.dtype) -> KeyFill | None:
    """What a kernel reads in place of a mask, for several calls with that mask and no gradients; None without.

    dtype: of the bias in those calls, float32 where they have none.
    """
    return None


@dispatched("foldcli_kernels.attention:gated_attention", _unsupported_heads)
def gated_attention(
    packed: Float[Tensor, "*b g n hd4"],
    gate_bias: Float[Tensor, " hd"],
    heads: int,
    mask: Float[Tensor, "*b g n"],
    bias: Float[Tensor, "*b h n n"] | None = None,
    fill: KeyFill | None = None,
) -> Float[Tensor, "*b g n hd"]:
    """Attend within each of g rows of n positions, and gate the result.

    packed: queries, keys, values and gates side by side, [4, heads, dim] in the last axis; bias is added to every row's
    logits; mask [g, n] is 1 where a key may be attended to; fill: that of the mask, from `key_fill`.
    """
    attend = _explicit if _is_short(packed) else _fused
    if packed.dim() > 3 and not (packed.requires_grad and attend is _explicit):
        biases = [None] * len(packed) if bias is None else bias
        each = zip(packed, mask, biases, strict=True)
        return torch.stack([gated_attention(rows, gate_bias, heads, keys, own) for rows, keys, own in each])
    gate = (packed.chunk(4, dim=-1)[3] + gate_bias).sigmoid_()
    return attend(packed, heads, mask, bias) * gate


def _is_short(packed: Tensor) -> bool:
    if packed.device.type != "cpu":
        return False
    if packed.requires_grad:
        return packed.dtype in (torch.bfloat16, torch.float32) and packed.shape[-2] <= MAX_EXPLICIT_TRAINING
    return packed.dtype == torch.bfloat16 and packed.shape[-2] <= MAX_EXPLICIT


def _explicit(packed: Tensor, heads: int, mask: Tensor, bias: Tensor | None) -> Tensor:
    """Attend with the logits in memory, heads first; the rows of a single sample are split."""
    bias = None if bias is None else bias.contiguous()  # the pair bias is projected heads last
    rows = max(1, MAX_LOGIT_BYTES // max(1, heads * packed.shape[-2] ** 2 * packed.element_size()))
    if packed.dim() == 3 and len(packed) > rows:
        return in_parts(
            lambda part, keys: _explicit(part, heads, keys, bias), rows, packed.shape[-1] // 4, packed, mask
        )
    q, k, v = packed.unflatten(-1, (4, heads, -1))[..., :3, :, :].movedim((-3, -2), (0, 1)).contiguous()
    logits = _product(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    if bias is not None:
        logits += bias.movedim(-3, 0).unsqueeze(-3)
    if not _is_full(mask):
        logits += _mask_bias(mask, packed).unsqueeze(-2)
    return _product(logits.softmax(-1), v).movedim(0, -2).flatten(-2)


def _split(
    attend: Callable[..., Tensor], rows: int, packed: Tensor, heads: int, mask: Tensor, bias: Tensor | None
) -> Tensor:
    width = packed.shape[-1] // 4
    return in_parts(lambda part, keys: attend(part, heads, keys, bias), rows, width, packed, mask)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return matrix products, batched over all other axes; torch.matmul would copy a transposed operand first."""
    return torch.bmm(a.flatten(0, -3), b.flatten(0, -3)).view(*a.shape[:-1], b.shape[-1])


def _fused(packed: Tensor, heads: int, mask: Tensor, bias: Tensor | None) -> Tensor:
    rows = max(1, MAX_SUM_BYTES // max(1, heads * packed.shape[-2] ** 2 * packed.element_size()))
    if len(packed) > rows and bias is not None and not _is_full(mask):
        return _split(_fused, rows, packed, heads, mask, bias)
    q, k, v, _ = packed.unflatten(-1, (4, heads, -1)).movedim((-3, -2), (0, -3))
    out = F.scaled_dot_product_attention(q, k, v, _additive(mask, bias, packed))
    return out.transpose(-2, -3).flatten(-2)


def _additive(mask: Tensor, bias: Tensor | None, like: Tensor) -> Tensor | None:
    """Return what is added to the logits, broadcastable to [g, h, n, n]; None if nothing is."""
    keys = None if _is_full(mask) else _mask_bias(mask, like)[..., None, None, :]
    shared = None if bias is None else bias.unsqueeze(-4)
    if keys is None or shared is None:
        return shared if keys is None else keys
    return shared + keys


def _mask_bias(mask: Tensor, like: Tensor) -> Tensor:
    return (mask.to(like.dtype) - 1) * -MASK_BIAS


def _is_full(mask: Tensor) -> bool:
    """Say whether a mask is known to mask no key."""
    # A full mask is the common case; on the CPU a look at it is cheap and saves a [g, h, n, n] sum with the bias. A GPU
    # would have to be waited for. A fake tensor is assumed to be full on any device, or a plan would hold a call for
    # each part of the rows; where that is wrong, the sum needs up to MAX_SUM_BYTES, or one row's, more than predicted.
    return is_fake(mask) or (mask.device.type == "cpu" and bool(mask.all()))


@dispatched("foldcli_kernels.global_attention:global_attention", _unsupported_global)
def global_attention(
    q: Float[Tensor, "*b n h d"],
    k: Float[Tensor, "*b n s d"],
    v: Float[Tensor, "*b n s d"],
    mask: Float[Tensor, "*b n s"],
) -> Float[Tensor, "*b n h d"]:
    """Attend with one query a head for each of n columns to keys and values that the heads share (Suppl. Alg. 19)."""
    keys = _mask_bias(mask, q)[..., None, :]
    return F.scaled_dot_product_attention(
        q.unsqueeze(-3), k.unsqueeze(-3), v.unsqueeze(-3), keys.unsqueeze(-3)
    ).squeeze(-3)
