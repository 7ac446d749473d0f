"""Launches the attention kernels."""

import torch
import triton
from torch import Tensor

from foldcli_kernels.attention import backward, forward
from foldcli_kernels.attention.tiles import tile_of
from foldcli_kernels.matmul import padded_width
from foldcli_kernels.tuning import launch_parameters, size_class


def launch_forward(
    packed: Tensor, gate_bias: Tensor, heads: int, mask: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gated values [b, g, n, hd] in the memory order of packed, and log-sum-exps [b, h, g, n], base 2."""
    packed, mask, bias = channels_adjacent(packed), loadable_mask(mask), padded_bias(bias)
    out, lse = empty_outputs(packed, heads)
    if not out.numel():
        return out, lse
    tile, options = tile_of("forward", packed, heads, bias)
    b, g, n, _ = packed.shape
    programs = triton.cdiv(n, tile["BLOCK_M"]) * triton.cdiv(g, tile["ROWS"]) * b * heads
    with torch.cuda.device_of(packed):
        forward.attention_forward[(programs,)](
            packed, gate_bias, mask, bias, out, lse, heads, g, n, 0 if bias is None else bias.shape[-1],
            *packed.stride()[:3], *mask.stride(), *out.stride()[:3], **tile, **options,
        )  # fmt: skip
    return out, lse


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
    mask: Tensor,
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
    mask, bias = loadable_mask(mask), padded_bias(bias)
    grad_packed, delta = torch.empty_like(packed), torch.empty_like(lse)
    with torch.cuda.device_of(packed):
        grad_gate_bias = _launch_gate(grad, packed, gate_bias, out, grad_packed, delta, heads)
        _launch_dkv(packed, mask, bias, grad_packed, lse, delta, heads)
        # Last, since dO is kept in the place of dQ until then.
        sums = _launch_dq(packed, mask, bias, grad_packed, lse, delta, heads, bias_grad)
    return grad_packed, grad_gate_bias, sums


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
    return gate_sums.sum(0).to(gate_bias.dtype)


def _launch_dkv(
    packed: Tensor, mask: Tensor, bias: Tensor | None, grad_packed: Tensor, lse: Tensor, delta: Tensor, heads: int
) -> None:
    tile, options = tile_of("key_backward", packed, heads, bias)
    b, g, n, _ = packed.shape
    programs = triton.cdiv(n, tile["BLOCK_N"]) * triton.cdiv(g, tile["ROWS"]) * b * heads
    backward.attention_backward_dkv[(programs,)](
        packed, mask, bias, grad_packed, lse, delta, heads, g, n, 0 if bias is None else bias.shape[-1],
        *packed.stride()[:3], *grad_packed.stride()[:3], *mask.stride(), **tile, **options,
    )  # fmt: skip


def _launch_dq(
    packed: Tensor, mask: Tensor, bias: Tensor | None, grad_packed: Tensor, lse: Tensor, delta: Tensor, heads: int,
    bias_grad: bool,
) -> Tensor | None:  # fmt: skip
    """Return the gradient of the bias, if asked."""
    tile, options = tile_of("query_backward", packed, heads, bias)
    programs = options.pop("programs")
    b, g, n, _ = packed.shape
    blocks, row_groups = triton.cdiv(n, tile["BLOCK_M"]), triton.cdiv(g, tile["ROWS"])
    sums, shares = None, row_groups
    if bias is not None and bias_grad:
        shares = min(row_groups, triton.cdiv(programs, blocks * b * heads))
        shares = triton.cdiv(row_groups, triton.cdiv(row_groups, shares))  # so that no share is empty
        sums = packed.new_empty((b, heads, shares, n, bias.shape[-1]), dtype=torch.float32)
    backward.attention_backward_dq[(blocks * shares * b * heads,)](
        packed, mask, bias, grad_packed, lse, delta, sums, heads, g, n, 0 if bias is None else bias.shape[-1],
        shares, triton.cdiv(row_groups, shares),
        *packed.stride()[:3], *grad_packed.stride()[:3], *mask.stride(), **tile, **options,
    )  # fmt: skip
    return None if bias is None or sums is None else sums.sum(2)[..., :n].to(bias.dtype, copy=True)


def padded_bias(bias: Tensor | None) -> Tensor | None:
    """Return the bias [b, h, n, n] in rows of a multiple of 16 entries, which vector loads need.

    No copy where it lies like that, as norm_linear writes it; what a row holds past the end is then not defined.
    """
    if bias is None:
        return None
    spare = -bias.shape[-1] % 16
    b, h, n, _ = bias.shape
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
