"""Launches the attention kernels."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.attention import backward, forward
from foldcli_kernels.attention.mask import attention_mask_fill
from foldcli_kernels.attention.tiles import MASK_BLOCK, tile_of
from foldcli_kernels.matmul import padded_width
from foldcli_kernels.shares import add_shares
from foldcli_kernels.tuning import launch_parameters, size_class

# What attention_mask_fill writes: what is added to the logits of keys, and the logits' factor.
Fill = tuple[Tensor, Tensor]
# packed, fill, unit, bias, grad_packed, lse, delta
Arguments = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, Tensor]


def launch_forward(
    packed: Tensor, gate_bias: Tensor, heads: int, fill: Fill, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gated values [b, g, n, hd] in the memory order of packed, and log-sum-exps [b, h, g, n], base 2."""
    packed, bias = channels_adjacent(packed), padded_bias(bias)
    out, lse = empty_outputs(packed, heads)
    if not out.numel():
        return out, lse
    tile, options = tile_of("forward", packed, heads, bias)
    b, g, n, _ = packed.shape
    programs = triton.cdiv(n, tile["BLOCK_M"]) * triton.cdiv(g, tile["ROWS"]) * b * heads
    with torch.cuda.device_of(packed):
        keys, unit = fill
        forward.attention_forward[(programs,)](
            packed, gate_bias, keys, unit, bias, out, lse, heads, g, n, *_pitches(bias, keys),
            *packed.stride()[:3], *out.stride()[:3], **tile, **options,
        )  # fmt: skip
    return out, lse


def empty_fill(mask: Tensor, dtype: torch.dtype) -> Fill:
    """Return empty tensors for what attention_mask_fill writes: [b, g, n] up to whole tiles of keys, and [b, g]."""
    b, g, n = mask.shape
    keys = mask.new_empty((b, g, triton.cdiv(n, MASK_BLOCK) * MASK_BLOCK), dtype=dtype)
    return keys, mask.new_empty((b, g), dtype=torch.float32)


def fill_mask(mask: Tensor, dtype: torch.dtype) -> Fill:
    """Return what attention_mask_fill writes; dtype: see `fill_type`."""
    mask = loadable_mask(mask)
    b, g, n = mask.shape
    keys, unit = empty_fill(mask, dtype)
    if keys.numel():
        with torch.cuda.device_of(mask):
            attention_mask_fill[(b * g,)](
                mask, keys, unit, g, n, keys.shape[-1], *mask.stride(), BLOCK=MASK_BLOCK, num_warps=1, num_stages=1
            )
    return keys, unit


def fill_type(bias: Tensor | None) -> torch.dtype:
    """Return the type of what is added to the logits of masked keys: that of the bias, to which it is added."""
    return torch.float32 if bias is None else bias.dtype


def _pitches(bias: Tensor | None, fill: Tensor) -> tuple[int, int]:
    return 0 if bias is None else bias.shape[-1], fill.shape[-1]


def empty_outputs(packed: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return empty tensors for the result and the log-sum-exps."""
    b, g, n, channels = packed.shape
    out = torch.empty_like(channels_adjacent(packed)[..., : channels // 4])  # keeps the order of the axes in memory
    return out, packed.new_empty((b, heads, g, n), dtype=torch.float32)


def launch_backward(
    grad: Tensor,
    packed: Tensor,
    gate_bias: Tensor,
    heads: int,
    fill: Fill,
    bias: Tensor | None,
    out: Tensor,
    lse: Tensor,
    bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of packed [b, g, n, 4hd] (in its memory order), gate_bias [hd] and, if asked, bias."""
    packed, grad, out = (channels_adjacent(tensor) for tensor in (packed, grad, out))
    if not packed.numel():
        shared = None if bias is None else torch.zeros_like(bias)
        return torch.zeros_like(packed), torch.zeros_like(gate_bias), shared
    bias = padded_bias(bias)
    grad_packed, delta = torch.empty_like(packed), torch.empty_like(lse)
    with torch.cuda.device_of(packed):
        grad_gate_bias = _launch_gate(grad, packed, gate_bias, out, grad_packed, delta, heads)
        arguments = (packed, *fill, bias, grad_packed, lse, delta)
        _launch_dkv(arguments, heads)
        grad_bias = None if bias is None or not bias_grad else _launch_dbias(arguments, heads, bias)
        # Last, since dO is kept in the place of dQ until then.
        _launch_dq(arguments, heads)
    return grad_packed, grad_gate_bias, grad_bias


def _launch_gate(
    grad: Tensor, packed: Tensor, gate_bias: Tensor, out: Tensor, grad_packed: Tensor, delta: Tensor, heads: int
) -> Tensor:
    """Return the gradient of gate_bias."""
    b, g, n, _ = packed.shape
    options = dict(launch_parameters("attention_gate_backward", packed.dtype, size_class(n), packed.device))
    rows, block_m = min(options.pop("rows"), g), options.pop("block_m")
    blocks, row_groups, dim = triton.cdiv(n, block_m), triton.cdiv(g, rows), gate_bias.numel() // heads
    gate_sums = packed.new_empty((b * row_groups * blocks, gate_bias.numel()), dtype=torch.float32)
    backward.attention_backward_gate[(blocks * row_groups * b * heads,)](
        grad, packed, gate_bias, out, grad_packed, delta, gate_sums, heads, g, n, row_groups, rows,
        *grad.stride()[:3], *out.stride()[:3], *packed.stride()[:3], *grad_packed.stride()[:3],
        DIM=dim, WIDTH=padded_width(dim), BLOCK_M=block_m, **options,
    )  # fmt: skip
    return add_shares([gate_sums], gate_bias.dtype)


def _launch_dkv(arguments: Arguments, heads: int) -> None:
    packed, fill, _, bias, *_ = arguments
    tile, options = tile_of("key_backward", packed, heads, bias)
    b, g, n, _ = packed.shape
    backward.attention_backward_dkv[(triton.cdiv(n, tile["BLOCK_N"]) * g * b * heads,)](
        *arguments, heads, g, n, *_pitches(bias, fill), *_strides(arguments), **tile, **options
    )


def _launch_dbias(arguments: Arguments, heads: int, bias: Tensor) -> Tensor:
    """Return the gradient of the bias [b, h, n, n], without the padding of its rows."""
    packed, fill, *_ = arguments
    tile, options = tile_of("bias_backward", packed, heads, bias)
    programs = options.pop("programs")
    b, g, n, _ = packed.shape
    blocks = triton.cdiv(n, tile["BLOCK_M"]) * triton.cdiv(n, tile["BLOCK_N"])
    per_share = triton.cdiv(g, min(g, triton.cdiv(programs, blocks * b * heads)))
    shares = triton.cdiv(g, per_share)  # none is empty
    sums = packed.new_empty((shares, b, heads, n, bias.shape[-1]), dtype=torch.float32)
    backward.attention_backward_dbias[(blocks * shares * b * heads,)](
        *arguments, sums, heads, g, n, *_pitches(bias, fill), shares, per_share, sums.stride(0), *_strides(arguments),
        **tile, **options,
    )  # fmt: skip
    return add_shares([sums], bias.dtype).view(sums.shape[1:])[..., :n]


def _launch_dq(arguments: Arguments, heads: int) -> None:
    packed, fill, _, bias, *_ = arguments
    tile, options = tile_of("query_backward", packed, heads, bias)
    b, g, n, _ = packed.shape
    backward.attention_backward_dq[(triton.cdiv(n, tile["BLOCK_M"]) * g * b * heads,)](
        *arguments, heads, g, n, *_pitches(bias, fill), *_strides(arguments), **tile, **options
    )


def _strides(arguments: Arguments) -> tuple[int, ...]:
    packed, grad_packed = arguments[0], arguments[4]
    return (*packed.stride()[:3], *grad_packed.stride()[:3])


def padded_length(n: int) -> int:
    """Return how many entries a row of the bias takes."""
    return -(-n // 16) * 16


def padded_bias(bias: Tensor | None) -> Tensor | None:
    """Return the bias [b, h, n, n] in rows of a multiple of 16 entries, which vector loads need.

    No copy where it lies like that, as norm_linear writes it; what a row holds past the end is then not defined.
    """
    if bias is None:
        return None
    b, h, n, _ = bias.shape
    spare = padded_length(n) - n
    strides = h * n * (n + spare), n * (n + spare), n + spare, 1
    if bias.stride()[b == 1 :] == strides[b == 1 :]:
        return bias.as_strided((b, h, n, n + spare), strides)
    # contiguous after padding too: pad keeps the strides of a view with heads moved to the front
    return (torch.nn.functional.pad(bias, (0, spare)) if spare else bias).contiguous()


def channels_adjacent(tensor: Tensor) -> Tensor:
    """Return the tensor with channels adjacent in memory; a copy only if they are not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def loadable_mask(mask: Tensor) -> Tensor:
    """Return the mask in a type that kernels can load."""
    return mask.view(torch.uint8) if mask.dtype == torch.bool else mask
