"""Launches the backward passes of gated attention, and says with which parameters they ship."""

import torch
import triton
from torch import Tensor

from foldcli_kernels import attention_backward as kernels
from foldcli_kernels.attention_launch import DIMS, declare_step, padded_dim, step_specimens, tile_of
from foldcli_kernels.attention_tiles import padded_bias, plain_mask, rows_adjacent
from foldcli_kernels.launch import declare, launch_parameters, size_class
from foldcli_kernels.specimen import POINTER, Specimen

GATE = [{"rows": rows, "block_m": 64, "num_warps": 4, "num_stages": 1} for rows in (16, 4)]
declare("attention_gate_backward", GATE[0], candidates=GATE)
declare_step("key_backward")
declare_step("query_backward")


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
    packed, grad, out = (rows_adjacent(tensor) for tensor in (packed, grad, out))
    if not packed.numel():
        shared = None if bias is None else torch.zeros_like(bias)
        return torch.zeros_like(packed), torch.zeros_like(gate_bias), shared
    mask, bias = plain_mask(mask), padded_bias(bias)
    grad_packed, delta = torch.empty_like(packed), torch.empty_like(lse)
    with torch.cuda.device_of(packed):
        grad_gate_bias = _gate(grad, packed, gate_bias, out, grad_packed, delta, heads)
        _keys(packed, mask, bias, grad_packed, lse, delta, heads)
        # Last: dO lies in the place of dQ until then.
        sums = _queries(packed, mask, bias, grad_packed, lse, delta, heads, bias_grad)
    return grad_packed, grad_gate_bias, sums


def _gate(
    grad: Tensor, packed: Tensor, gate_bias: Tensor, out: Tensor, grad_packed: Tensor, delta: Tensor, heads: int
) -> Tensor:
    b, g, n, _ = packed.shape
    options = dict(launch_parameters("attention_gate_backward", packed.dtype, size_class(n), packed.device))
    rows, block_m = min(options.pop("rows"), g), options.pop("block_m")
    blocks, row_groups, dim = triton.cdiv(n, block_m), triton.cdiv(g, rows), gate_bias.numel() // heads
    gate_sums = packed.new_empty((b * row_groups * blocks, gate_bias.numel()), dtype=torch.float32)
    kernels.gate_backward[(blocks * row_groups * b * heads,)](
        grad, packed, gate_bias, out, grad_packed, delta, gate_sums, heads, g, n, row_groups, rows,
        *grad.stride()[:3], *out.stride()[:3], *packed.stride()[:3], *grad_packed.stride()[:3],
        DIM=dim, WIDTH=padded_dim(dim), BLOCK_M=block_m, **options,
    )  # fmt: skip
    return gate_sums.sum(0).to(gate_bias.dtype)


def _keys(
    packed: Tensor, mask: Tensor, bias: Tensor | None, grad_packed: Tensor, lse: Tensor, delta: Tensor, heads: int
) -> None:
    tile, options = tile_of("key_backward", packed, heads, bias)
    b, g, n, _ = packed.shape
    programs = triton.cdiv(n, tile["BLOCK_N"]) * triton.cdiv(g, tile["ROWS"]) * b * heads
    kernels.key_backward[(programs,)](
        packed, mask, bias, grad_packed, lse, delta, heads, g, n, 0 if bias is None else bias.shape[-1],
        *packed.stride()[:3], *grad_packed.stride()[:3], *mask.stride(), **tile, **options,
    )  # fmt: skip


def _queries(
    packed: Tensor, mask: Tensor, bias: Tensor | None, grad_packed: Tensor, lse: Tensor, delta: Tensor, heads: int,
    bias_grad: bool,
) -> Tensor | None:  # fmt: skip
    tile, options = tile_of("query_backward", packed, heads, bias)
    programs = options.pop("programs")
    b, g, n, _ = packed.shape
    blocks, row_groups = triton.cdiv(n, tile["BLOCK_M"]), triton.cdiv(g, tile["ROWS"])
    sums, shares = None, row_groups
    if bias is not None and bias_grad:
        shares = min(row_groups, triton.cdiv(programs, blocks * b * heads))
        shares = triton.cdiv(row_groups, triton.cdiv(row_groups, shares))  # none is left without rows
        sums = packed.new_empty((b, heads, shares, n, bias.shape[-1]), dtype=torch.float32)
    kernels.query_backward[(blocks * shares * b * heads,)](
        packed, mask, bias, grad_packed, lse, delta, sums, heads, g, n, 0 if bias is None else bias.shape[-1],
        shares, triton.cdiv(row_groups, shares),
        *packed.stride()[:3], *grad_packed.stride()[:3], *mask.stride(), **tile, **options,
    )  # fmt: skip
    return None if bias is None or sums is None else sums.sum(2)[..., :n].to(bias.dtype, copy=True)


def specimens() -> list[Specimen]:
    """Every configuration of the backward kernels that ships."""
    held = frozenset({"packed", "bias", "grad_packed"})
    found = [_gate_specimen(dtype, dim, options) for dtype in POINTER for dim in DIMS for options in GATE[:1]]
    found += step_specimens("key_backward", kernels.key_backward, held, ("bias",))
    found += step_specimens("query_backward", kernels.query_backward, held, ("bias", "bias_sums"))
    return found


def _gate_specimen(dtype: torch.dtype, dim: int, options: dict[str, int]) -> Specimen:
    constants = {"DIM": dim, "WIDTH": padded_dim(dim), "BLOCK_M": options["block_m"]}
    names = [name for name in kernels.gate_backward.arg_names if name not in constants]
    counts = ("heads", "groups", "length", "row_groups", "rows")
    signature = {name: "i32" if name in counts else "i64" if name[-2] == "_" else "*fp32" for name in names}
    signature |= dict.fromkeys(("grad", "packed", "out", "grad_packed"), POINTER[dtype])
    return Specimen(
        f"attention_gate_backward {str(dtype)[6:]} d{dim}", kernels.gate_backward, signature, constants,
        options["num_warps"], options["num_stages"],
        divisible=tuple(name for name, kind in signature.items() if kind != "i32"),
    )  # fmt: skip
