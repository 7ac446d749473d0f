"""Residual with dropout whose mask one axis shares; the mask is drawn again in backward, so that none is stored.

Drawing a number takes about 70 integer operations, more than memory leaves time for: each is drawn once for a run of
positions along the shared axis.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import Parameters, declare, launch_parameters, size_class
from foldcli_kernels.specimen import POINTER, Specimen

BITS = 24  # foldcli.ops.dropout.BITS
# block_m: numbers of a mask; block_s: positions that share them at once; steps: how often, one after the other.
CANDIDATES: list[Parameters] = [
    {"block_m": m, "block_s": s, "steps": 16, "num_warps": 4, "num_stages": 1}
    for m, s in [(512, 4), (128, 16), (1024, 2)]
]
declare("dropout_add", CANDIDATES[0], candidates=CANDIDATES)


@triton.jit
def dropout_kernel(
    x, update, out, seed, threshold, growth, second, shared, between, channels,
    x0, x1, x2, x3, x4, u0, u1, u2, u3, u4, o0, o1, o2, o3, o4,
    HAS_X: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_S: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Axes: outer, second, shared, between, channels; a line of the mask is (outer, second)."""
    count = between * channels
    tiles = tl.cdiv(count, BLOCK_M)
    line = tl.program_id(0) // tiles
    number = (tl.program_id(0) % tiles) * BLOCK_M + tl.arange(0, BLOCK_M)
    index = line.to(tl.int64) * count + number
    low, high = (index & 0xFFFFFFFF).to(tl.uint32), (index >> 32).to(tl.uint32)
    word, _, _, _ = tl.philox(tl.load(seed), low, high, low * 0, low * 0)
    factor = tl.where((word >> 8).to(tl.int32) >= threshold, growth, 0.0)
    first, then = (line // second).to(tl.int64), (line % second).to(tl.int64)
    across, channel = (number // channels).to(tl.int64), (number % channels).to(tl.int64)
    x_at = first * x0 + then * x1 + across * x3 + channel * x4
    u_at = first * u0 + then * u1 + across * u3 + channel * u4
    o_at = first * o0 + then * o1 + across * o3 + channel * o4
    begin = tl.program_id(1) * STEPS * BLOCK_S
    for start in range(begin, tl.minimum(begin + STEPS * BLOCK_S, shared), BLOCK_S):
        position = start + tl.arange(0, BLOCK_S)
        inside = (position < shared)[:, None] & (number < count)[None, :]
        along = position.to(tl.int64)[:, None]
        result = tl.load(update + along * u2 + u_at[None, :], mask=inside, other=0.0).to(tl.float32) * factor[None, :]
        if HAS_X:
            result += tl.load(x + along * x2 + x_at[None, :], mask=inside, other=0.0).to(tl.float32)
        tl.store(out + along * o2 + o_at[None, :], result.to(out.dtype.element_ty), mask=inside)


def _five_axes(x: Tensor, shared: int) -> Tensor:
    """View of x as [outer, second, shared, between, channels]; a copy where its strides do not allow one."""
    outer, second = x.shape[: max(shared - 1, 0)], x.shape[shared - 1 : shared]
    between = x.shape[shared + 1 : -1]
    return x.reshape(
        math.prod(outer), math.prod(second), x.shape[shared], math.prod(between), x.shape[-1]
    )  # fmt: skip


def launch(x: Tensor | None, update: Tensor, seed: Tensor, rate: float, shared: int, out: Tensor) -> Tensor:
    """Write x (if any) + update with dropout into out, which has the axes of both."""
    shared %= update.dim()
    into = _five_axes(out, shared)
    given = _five_axes(update, shared)
    base = given if x is None else _five_axes(x, shared)
    outer, second, length, between, channels = given.shape
    options = dict(launch_parameters("dropout_add", update.dtype, size_class(max(length, 1)), update.device))
    block_m, block_s, steps = (options.pop(key) for key in ("block_m", "block_s", "steps"))
    grid = (outer * second * triton.cdiv(between * channels, block_m), triton.cdiv(length, block_s * steps))
    with torch.cuda.device_of(update):
        dropout_kernel[grid](
            base, given, into, seed, round(rate * 2**BITS), 1 / (1 - rate), second, length, between, channels,
            *base.stride(), *given.stride(), *into.stride(),
            x is not None, block_m, block_s, steps, **options,
        )  # fmt: skip
    # Without the copy that strides beyond a view cost, `into` is `out` under other axes.
    return out if into.data_ptr() == out.data_ptr() else out.copy_(into.view(out.shape))


def _like(x: Tensor, update: Tensor) -> Tensor:
    return torch.empty_like(x, dtype=torch.promote_types(x.dtype, update.dtype))


@torch.library.custom_op("foldcli::dropout_add", mutates_args=())
def _forward(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    return launch(x, update, seed, rate, shared, _like(x, update))


@torch.library.custom_op("foldcli::dropout_add_backward", mutates_args=())
def _backward(grad: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    """Gradient of the update."""
    return launch(None, grad, seed, rate, shared, torch.empty_like(grad))


@_forward.register_fake
def _(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    return _like(x, update)


@_backward.register_fake
def _(grad: Tensor, seed: Tensor, rate: float, shared: int) -> Tensor:
    return torch.empty_like(grad)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, update, seed, ctx.rate, ctx.shared = inputs
    ctx.dtypes = x.dtype, update.dtype
    ctx.save_for_backward(seed)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    of_update = torch.ops.foldcli.dropout_add_backward(grad, *ctx.saved_tensors, ctx.rate, ctx.shared)
    return grad.to(ctx.dtypes[0]), of_update.to(ctx.dtypes[1]), None, None, None


_forward.register_autograd(_gradients, setup_context=_save)


def dropout_add(x: Tensor, update: Tensor, seed: Tensor, rate: float, shared: int, training: bool = True) -> Tensor:
    """Add an update of which a share `rate` is zero and the rest grown by 1 / (1 - rate), alike along axis `shared`.

    x, update: [*b, c] with any strides; seed: one int64 on their device; shared: any axis but the last, by which
    channels are told apart. The mask is that of foldcli.ops.dropout, bit for bit.
    """
    if not training or rate == 0:
        return x + update
    if shared in (-1, x.dim() - 1):
        raise ValueError("dropout_add: the mask can be shared along any axis but the last")
    return torch.ops.foldcli.dropout_add(x, update, seed, rate, shared)


def specimens() -> list[Specimen]:
    """The kernel in every type and candidate, with and without a residual."""
    return [_specimen(dtype, options, has_x) for dtype in POINTER for options in CANDIDATES for has_x in (True, False)]


def _specimen(dtype: torch.dtype, options: Parameters, has_x: bool) -> Specimen:
    names = dropout_kernel.arg_names
    strides = [name for name in names if name[1:].isdigit()]
    pointers = ("x", "update", "out")
    constants = {
        "HAS_X": has_x, "BLOCK_M": options["block_m"], "BLOCK_S": options["block_s"], "STEPS": options["steps"],
        "x4": 1, "u4": 1, "o4": 1,
    }  # fmt: skip
    signature = {name: "i32" for name in names if name not in constants}
    signature |= dict.fromkeys(pointers, POINTER[dtype]) | {"seed": "*i64", "growth": "fp32"}
    kind = "forward" if has_x else "backward"
    return Specimen(
        f"dropout_add {kind} {str(dtype)[6:]} {options['block_m']}x{options['block_s']}", dropout_kernel, signature,
        constants, options["num_warps"], options["num_stages"],
        divisible=(*pointers, "channels", *(name for name in strides if name not in constants)),
    )  # fmt: skip
