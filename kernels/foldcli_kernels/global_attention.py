"""Global attention: one query a head for each column, to keys and values that the heads share (Suppl. Alg. 19).

A byte of keys and values meets 16 FLOPs, far below the ridge of the roofline, so one program reads a column once, for
all heads together, and the matrix products are padded to the least that the hardware has.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import dense_channels
from foldcli_kernels.specimen import POINTER, Specimen
from foldcli_kernels.triangle_tiles import product, refuse_gradient, width_block

OPTIONS = {
    "forward": [{"block_s": s, "num_warps": 4, "num_stages": 3} for s in (128, 64)],
    "backward": [{"block_s": s, "num_warps": 4, "num_stages": 3} for s in (64, 32)],
}
SINGLE = {"block_s": 32, "num_warps": 4, "num_stages": 2}
DIMS = (8, 16, 32, 64)
for _dim in DIMS:
    for _part, _half in OPTIONS.items():
        declare(
            f"global_attention_{_part}_{width_block(_dim)}",
            _half[0],
            by_dtype={torch.float32: SINGLE},
            candidates=_half,
        )
# Finite, as in the body: a column with every key masked attends evenly, and the hidden part of its logits is nothing
# beside it. What lies beyond the last key is nothing beside that.
MASKED = tl.constexpr(1e9)
BEYOND = tl.constexpr(-1e30)
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def load_tile(x, start, row, step, rows, DIM: tl.constexpr, BLOCK: tl.constexpr):
    channel = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (channel < DIM)[None, :]
    return tl.load(x + start + row.to(tl.int64)[:, None] * step + channel[None, :], mask=inside, other=0.0)


@triton.jit
def score(q, k, mask, key, step, keys, scale, zero):
    """Logits of all heads for a tile of keys [H, S], in powers of two."""
    keep = tl.load(mask + key * step, mask=key < keys, other=0.0).to(tl.float32)
    logits = product(q, tl.trans(k), zero) * (scale * LOG2E) + ((keep - 1.0) * (MASKED * LOG2E))[None, :]
    return tl.where((key < keys)[None, :], logits, BEYOND)


@triton.jit
def forward_kernel(
    q, k, v, mask, out, statistics, columns, keys, scale, q_b, q_n, q_h, k_b, k_n, k_s, v_b, v_n, v_s,
    mask_b, mask_n, mask_s,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    batch, column = program // columns, program % columns
    head = tl.arange(0, BLOCK_H)
    queries = load_tile(q, batch * q_b + column * q_n, head, q_h, HEADS, DIM, BLOCK_D)
    highest = tl.full([BLOCK_H], BEYOND, tl.float32)
    total = tl.zeros([BLOCK_H], tl.float32)
    result = tl.zeros([BLOCK_H, BLOCK_D], tl.float32)
    for start in range(0, keys, BLOCK_S):
        key = start + tl.arange(0, BLOCK_S)
        block = load_tile(k, batch * k_b + column * k_n, key, k_s, keys, DIM, BLOCK_D)
        values = load_tile(v, batch * v_b + column * v_n, key, v_s, keys, DIM, BLOCK_D)
        zero = tl.zeros([BLOCK_H, BLOCK_S], tl.float32)
        logits = score(queries, block, mask + batch * mask_b + column * mask_n, key, mask_s, keys, scale, zero)
        before = highest
        highest = tl.maximum(before, tl.max(logits, axis=1))
        weight = tl.exp2(logits - highest[:, None])
        shrink = tl.exp2(before - highest)
        total = total * shrink + tl.sum(weight, axis=1)
        result = product(weight.to(values.dtype), values, result * shrink[:, None])
    channel = tl.arange(0, BLOCK_D)
    target = program * (HEADS * DIM) + head[:, None] * DIM + channel[None, :]
    tl.store(
        out + target,
        (result / total[:, None]).to(out.dtype.element_ty),
        mask=(head < HEADS)[:, None] & (channel < DIM)[None, :],
    )
    # Apart, not as one log-sum-exp: beside -1e9, where all keys are masked, float32 would lose the sum.
    line = statistics + program * (2 * HEADS) + head
    tl.store(line, highest, mask=head < HEADS)
    tl.store(line + HEADS, total, mask=head < HEADS)


@triton.jit
def backward_kernel(
    grad, q, k, v, mask, out, statistics, grad_q, grad_k, grad_v, columns, keys, scale, grad_b, grad_n, grad_h,
    q_b, q_n, q_h, k_b, k_n, k_s, v_b, v_n, v_s, mask_b, mask_n, mask_s,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    batch, column = program // columns, program % columns
    head, channel = tl.arange(0, BLOCK_H), tl.arange(0, BLOCK_D)
    queries = load_tile(q, batch * q_b + column * q_n, head, q_h, HEADS, DIM, BLOCK_D)
    incoming = load_tile(grad, batch * grad_b + column * grad_n, head, grad_h, HEADS, DIM, BLOCK_D)
    result = load_tile(out, program * (HEADS * DIM), head, DIM, HEADS, DIM, BLOCK_D)
    inner = tl.sum(incoming.to(tl.float32) * result.to(tl.float32), axis=1)
    line = statistics + program * (2 * HEADS) + head
    highest = tl.load(line, mask=head < HEADS, other=0.0)
    # Heads that pad the tile weigh nothing in the keys' and values' sums over heads.
    share = tl.where(head < HEADS, 1.0 / tl.load(line + HEADS, mask=head < HEADS, other=1.0), 0.0)
    total = tl.zeros([BLOCK_H, BLOCK_D], tl.float32)
    for start in range(0, keys, BLOCK_S):
        key = start + tl.arange(0, BLOCK_S)
        block = load_tile(k, batch * k_b + column * k_n, key, k_s, keys, DIM, BLOCK_D)
        values = load_tile(v, batch * v_b + column * v_n, key, v_s, keys, DIM, BLOCK_D)
        zero = tl.zeros([BLOCK_H, BLOCK_S], tl.float32)
        logits = score(queries, block, mask + batch * mask_b + column * mask_n, key, mask_s, keys, scale, zero)
        weight = tl.exp2(logits - highest[:, None]) * share[:, None]
        slope = weight * (product(incoming, tl.trans(values), zero) - inner[:, None]) * scale
        empty = tl.zeros([BLOCK_S, BLOCK_D], tl.float32)
        new_keys = product(tl.trans(slope.to(queries.dtype)), queries, empty)
        new_values = product(tl.trans(weight.to(queries.dtype)), incoming, empty)
        total = product(slope.to(block.dtype), block, total)
        inside = (key < keys)[:, None] & (channel < DIM)[None, :]
        target = (program * keys + key)[:, None] * DIM + channel[None, :]
        tl.store(grad_k + target, new_keys.to(grad_k.dtype.element_ty), mask=inside)
        tl.store(grad_v + target, new_values.to(grad_v.dtype.element_ty), mask=inside)
    target = program * (HEADS * DIM) + head[:, None] * DIM + channel[None, :]
    tl.store(
        grad_q + target, total.to(grad_q.dtype.element_ty), mask=(head < HEADS)[:, None] & (channel < DIM)[None, :]
    )


def _columns(x: Tensor) -> Tensor:
    """[*b, n, rows, d] with one batch axis and channels side by side; a view wherever strides allow."""
    return dense_channels(x.reshape(-1, *x.shape[-3:]))


def _tile(part: str, q: Tensor, keys: int) -> tuple[dict[str, int], dict[str, int]]:
    heads, dim = q.shape[-2:]
    constants = {"HEADS": heads, "DIM": dim, "BLOCK_H": width_block(heads), "BLOCK_D": width_block(dim)}
    name = f"global_attention_{part}_{constants['BLOCK_D']}"
    options = dict(launch_parameters(name, q.dtype, size_class(keys), q.device))
    return constants | {"BLOCK_S": options.pop("block_s")}, options


@torch.library.custom_op("foldcli::global_attention", mutates_args=())
def _forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Result, and the highest logit and the sum of weights of each query for the gradient."""
    out, statistics = _empty(q)
    q, k, v, mask = _columns(q), _columns(k), _columns(v), mask.reshape(-1, *mask.shape[-2:])
    batch, columns, keys, _ = k.shape
    constants, options = _tile("forward", q, keys)
    with torch.cuda.device_of(q):
        forward_kernel[(batch * columns,)](
            q, k, v, mask, out, statistics, columns, keys, q.shape[-1] ** -0.5, *q.stride()[:3], *k.stride()[:3],
            *v.stride()[:3], *mask.stride(), **constants, **options,
        )  # fmt: skip
    return out, statistics


def _empty(q: Tensor) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty((*q.shape[:-2], 2, q.shape[-2]), dtype=torch.float32)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return _empty(q)


@torch.library.custom_op("foldcli::global_attention_backward", mutates_args=())
def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, out: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    found = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
    grad, q, k, v, mask = _columns(grad), _columns(q), _columns(k), _columns(v), mask.reshape(-1, *mask.shape[-2:])
    batch, columns, keys, _ = k.shape
    constants, options = _tile("backward", q, keys)
    with torch.cuda.device_of(q):
        backward_kernel[(batch * columns,)](
            grad, q, k, v, mask, out, statistics, *found, columns, keys, q.shape[-1] ** -0.5, *grad.stride()[:3],
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *mask.stride(), **constants, **options,
        )  # fmt: skip
    return found


@_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, out: Tensor, statistics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, *output)


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return *torch.ops.foldcli.global_attention_backward(grad, *ctx.saved_tensors), None


_forward.register_autograd(_gradients, setup_context=_save)


def global_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attend with one query a head for each of n columns to keys and values that the heads share (Suppl. Alg. 19).

    q: [*b, n, h, d]; k and v: [*b, n, s, d] with any strides, such as halves of one projection; mask: [*b, n, s], 1
    where a key may be attended to; it gets no gradient. A column with every key masked attends evenly.
    """
    refuse_gradient("global_attention", mask)
    return torch.ops.foldcli.global_attention(q, k, v, mask)[0]


def specimens() -> list[Specimen]:
    """Every kernel, type, head dim and tile that ships."""
    return [
        _specimen(kernel, part, dtype, dim, options)
        for part, kernel in (("forward", forward_kernel), ("backward", backward_kernel))
        for dtype in POINTER
        for dim in DIMS
        for options in ([SINGLE] if dtype == torch.float32 else OPTIONS[part])
    ]


def _specimen(kernel: Any, part: str, dtype: torch.dtype, dim: int, options: dict[str, int]) -> Specimen:
    constants = {"HEADS": 8, "DIM": dim, "BLOCK_H": 16, "BLOCK_D": width_block(dim), "BLOCK_S": options["block_s"]}
    signature = {}
    for name in kernel.arg_names:
        if name == "scale":
            signature[name] = "fp32"
        elif name == "statistics":
            signature[name] = "*fp32"
        elif name not in constants:
            signature[name] = (
                "i32" if name[-2:] in ("_b", "_n", "_h", "_s") or name in ("columns", "keys") else POINTER[dtype]
            )
    whole = ("scale", "columns", "keys", "mask_b", "mask_n", "mask_s", *(("q_h", "grad_h") if dim == 8 else ()))
    title = f"global_attention {part} {str(dtype)[6:]} d{dim} {options['block_s']} keys"
    divisible = tuple(name for name in signature if name not in whole)
    return Specimen(
        title, kernel, signature, constants, options["num_warps"], options["num_stages"], divisible=divisible
    )
