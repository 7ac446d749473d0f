"""Gated attention over rows, with a bias that all share (Suppl. Alg. 7, 8, 13, 14), and its global form (Alg. 19)."""

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import is_fake

from foldcli.ops.dispatch import dispatched
from foldcli.shapes import Float, Tensor

# Finite, so that a row with every key masked attends evenly instead of becoming NaN.
MASKED = -1e9
# Bytes of a sum of bias and mask, which every row has for itself; with more, rows are taken some at a time.
MOST_SUM = 64 << 20
# Bytes of logits that stay in a CPU's caches between one product and the next, where rows are taken some at a time.
MOST_LOGITS = 4 << 20
# Head dims that the kernels' tiles are made for.
HEAD_DIMS = (8, 16, 32, 64)
# On a CPU, rows up to such a length have their logits in memory: in bfloat16, whose products are far faster than those
# of torch's fused attention; and in training, which keeps the logits, the small crops that come in batches.
SHORT, SHORT_TRAINED = 1024, 128


def _unfit_heads(packed: Tensor, gate_bias: Tensor, heads: int, *_: Tensor | None) -> str:
    dim = packed.shape[-1] // (4 * heads)
    return "" if dim in HEAD_DIMS else f"head dim {dim} is none of 8, 16, 32, 64"


def _unfit_global(q: Tensor, *_: Tensor) -> str:
    dim = q.shape[-1]
    return "" if dim in HEAD_DIMS else f"head dim {dim} is none of 8, 16, 32, 64"


@dispatched("foldcli_kernels.attention:gated_attention", _unfit_heads)
def gated_attention(
    packed: Float[Tensor, "*b g n hd4"],
    gate_bias: Float[Tensor, " hd"],
    heads: int,
    mask: Float[Tensor, "*b g n"],
    bias: Float[Tensor, "*b h n n"] | None = None,
) -> Float[Tensor, "*b g n hd"]:
    """Attend within each of g rows of n positions, and gate the result.

    packed: queries, keys, values and gates side by side, [4, heads, dim] in the last axis; bias is added to every row's
    logits; mask [g, n] is 1 where a key may be attended to.
    """
    at_once = _written_out if _short(packed) else _fused
    if packed.dim() > 3 and not (packed.requires_grad and at_once is _written_out):
        biases = [None] * len(packed) if bias is None else bias
        each = zip(packed, mask, biases, strict=True)
        return torch.stack([gated_attention(rows, gate_bias, heads, keys, own) for rows, keys, own in each])
    gate = (packed.chunk(4, dim=-1)[3] + gate_bias).sigmoid_()
    return at_once(packed, heads, mask, bias) * gate


def _short(packed: Tensor) -> bool:
    if packed.device.type != "cpu":
        return False
    if packed.requires_grad:
        return packed.dtype in (torch.bfloat16, torch.float32) and packed.shape[-2] <= SHORT_TRAINED
    return packed.dtype == torch.bfloat16 and packed.shape[-2] <= SHORT


def _written_out(packed: Tensor, heads: int, mask: Tensor, bias: Tensor | None) -> Tensor:
    """Attention with its logits in memory, heads first; of a single sample some rows at a time."""
    bias = None if bias is None else bias.contiguous()  # pairs come with their heads last
    rows = max(1, MOST_LOGITS // max(1, heads * packed.shape[-2] ** 2 * packed.element_size()))
    if packed.dim() == 3 and len(packed) > rows:
        parts = zip(packed.split(rows), mask.split(rows), strict=True)
        return torch.cat([_written_out(part, heads, keys, bias) for part, keys in parts])
    q, k, v = packed.unflatten(-1, (4, heads, -1))[..., :3, :, :].movedim((-3, -2), (0, 1)).contiguous()
    logits = _product(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    if bias is not None:
        logits += bias.movedim(-3, 0).unsqueeze(-3)
    if not _is_full(mask):
        logits += _masked(mask, packed).unsqueeze(-2)
    return _product(logits.softmax(-1), v).movedim(0, -2).flatten(-2)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products over all axes before the last two; torch's own copies a transposed operand first."""
    return torch.bmm(a.flatten(0, -3), b.flatten(0, -3)).view(*a.shape[:-1], b.shape[-1])


def _fused(packed: Tensor, heads: int, mask: Tensor, bias: Tensor | None) -> Tensor:
    rows = max(1, MOST_SUM // max(1, heads * packed.shape[-2] ** 2 * packed.element_size()))
    if len(packed) > rows and bias is not None and not _is_full(mask):
        parts = zip(packed.split(rows), mask.split(rows), strict=True)
        return torch.cat([_fused(part, heads, keys, bias) for part, keys in parts])
    q, k, v, _ = packed.unflatten(-1, (4, heads, -1)).movedim((-3, -2), (0, -3))
    out = F.scaled_dot_product_attention(q, k, v, _additive(mask, bias, packed))
    return out.transpose(-2, -3).flatten(-2)


def _additive(mask: Tensor, bias: Tensor | None, like: Tensor) -> Tensor | None:
    """Bias of the logits, broadcastable to [g, h, n, n]; None where nothing is masked and nothing added."""
    keys = None if _is_full(mask) else _masked(mask, like)[..., None, None, :]
    shared = None if bias is None else bias.unsqueeze(-4)
    if keys is None or shared is None:
        return shared if keys is None else keys
    return shared + keys


def _masked(mask: Tensor, like: Tensor) -> Tensor:
    return (mask.to(like.dtype) - 1) * -MASKED


def _is_full(mask: Tensor) -> bool:
    """Whether a mask is known to hide nothing."""
    # A full mask is the common case; on the CPU a look at it is cheap and saves a [g, h, n, n] sum with the bias.
    # Of a tensor without numbers it is assumed; where that is wrong, the sum takes MOST_SUM more than foreseen.
    return mask.device.type == "cpu" and (is_fake(mask) or bool(mask.all()))


@dispatched("foldcli_kernels.global_attention:global_attention", _unfit_global)
def global_attention(
    q: Float[Tensor, "*b n h d"],
    k: Float[Tensor, "*b n s d"],
    v: Float[Tensor, "*b n s d"],
    mask: Float[Tensor, "*b n s"],
) -> Float[Tensor, "*b n h d"]:
    """Attend with one query a head for each of n columns to keys and values that the heads share (Suppl. Alg. 19)."""
    keys = _masked(mask, q)[..., None, :]
    return F.scaled_dot_product_attention(
        q.unsqueeze(-3), k.unsqueeze(-3), v.unsqueeze(-3), keys.unsqueeze(-3)
    ).squeeze(-3)
