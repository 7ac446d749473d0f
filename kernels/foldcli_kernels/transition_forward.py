"""Layer norm, a wider layer, a rectifier and a layer back: the hidden layer is made and used up a tile at a time."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import Parameters, declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import dense_channels, empty_rows, row_offset, share_rows
from foldcli_kernels.norm_linear_forward import matrix_precision, normalise, width_class
from foldcli_kernels.norm_linear_sliced import product, sliced_product, statistics
from foldcli_kernels.specimen import POINTER, Specimen

# Channels and hidden channels of the model's transitions: template and extra alignment, pairs, alignment.
SIZES = ((64, 128), (64, 256), (128, 512), (256, 1024))


def parameters(block_m: int, block_h: int, block_k: int, num_warps: int, num_stages: int) -> Parameters:
    """block_h: hidden channels at once; block_k: channels at once, rows stay on chip whole where it is their width."""
    return {
        "block_m": block_m,
        "block_h": block_h,
        "block_k": block_k,
        "num_warps": num_warps,
        "num_stages": num_stages,
    }


# By the width rounded up to a power of two: in half precision, in float32, and what tuning tries besides.
FORWARD = {
    64: (parameters(128, 64, 64, 8, 3), parameters(64, 32, 32, 4, 2), []),
    128: (parameters(128, 64, 128, 8, 2), parameters(64, 32, 32, 8, 2), [parameters(64, 64, 128, 4, 2)]),
    256: (parameters(64, 64, 256, 8, 2), parameters(32, 32, 32, 8, 2), [parameters(64, 32, 256, 4, 2)]),
    512: (parameters(32, 32, 64, 8, 1), parameters(16, 16, 32, 8, 1), []),
}
for _width, (_half, _single, _more) in FORWARD.items():
    declare(f"transition_forward_c{_width}", _half, {torch.float32: _single}, [_half, *_more])


@triton.jit
def forward_kernel(
    x, scale, offset, expand, expand_bias, contract, contract_bias, out, rows, middle, inner, x0, x1, x2,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, EXPAND_BIAS: tl.constexpr, CONTRACT_BIAS: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = row < rows
    start = row_offset(row, middle, inner, x0, x1, x2)
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    if BLOCK_K < WIDTH:
        mean, reciprocal = statistics(x, start, inside, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = normalise(x, start, inside, scale, offset, WIDTH, BLOCK_C)
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for first in range(0, HIDDEN, BLOCK_H):
        column = first + tl.arange(0, BLOCK_H)
        known = column < HIDDEN
        if BLOCK_K < WIDTH:
            hidden = sliced_product(
                x, start, inside, mean, reciprocal, scale, offset, expand, column, WIDTH, 1,
                WIDTH, HIDDEN, True, BLOCK_M, BLOCK_H, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            at = expand + column[None, :] * WIDTH + channel[:, None]
            tile = tl.load(at, mask=known[None, :] & real[:, None], other=0.0)
            hidden = product(normed, tile, tl.zeros([BLOCK_M, BLOCK_H], tl.float32), PRECISION)
        if EXPAND_BIAS:
            hidden += tl.load(expand_bias + column, mask=known, other=0.0).to(tl.float32)[None, :]
        hidden = tl.maximum(hidden, 0.0).to(x.dtype.element_ty)
        at = contract + channel[None, :] * HIDDEN + column[:, None]
        tile = tl.load(at, mask=known[:, None] & real[None, :], other=0.0)
        total = product(hidden, tile, total, PRECISION)
    if CONTRACT_BIAS:
        total += tl.load(contract_bias + channel, mask=real, other=0.0).to(tl.float32)[None, :]
    at = out + row.to(tl.int64)[:, None] * WIDTH + channel[None, :]
    tl.store(at, total.to(out.dtype.element_ty), mask=inside[:, None] & real[None, :])


def launch_forward(
    x: Tensor, scale: Tensor, offset: Tensor, expand: Tensor, expand_bias: Tensor | None,
    contract: Tensor, contract_bias: Tensor | None,
) -> Tensor:  # fmt: skip
    """Update for each row, in the memory order of x [*b, c]; expand [h, c], contract [c, h]."""
    hidden, width = expand.shape
    out = empty_rows(x, width)
    (x,), rows = share_rows(dense_channels(x))
    name = f"transition_forward_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_h, block_k = (options.pop(key) for key in ("block_m", "block_h", "block_k"))
    with torch.cuda.device_of(x):
        forward_kernel[(triton.cdiv(rows.count, block_m),)](
            x, scale, offset, expand.contiguous(), expand_bias, contract.contiguous(), contract_bias, out,
            rows.count, rows.middle, rows.inner, *rows.strides[0],
            width, hidden, expand_bias is not None, contract_bias is not None, triton.next_power_of_2(width),
            block_m, block_h, block_k, matrix_precision(x.dtype), **options,
        )  # fmt: skip
    return out


def specimen(
    kind: str, kernel: object, names: list[str], dtype: torch.dtype, size: tuple[int, int], options: Parameters,
    wgmma_rows: int,
) -> Specimen:  # fmt: skip
    """Describe one of the transition's kernels as it is launched on a dense tensor."""
    width, hidden = size
    constants = {
        "WIDTH": width, "HIDDEN": hidden, "EXPAND_BIAS": True, "CONTRACT_BIAS": True, "middle": 1, "inner": 1,
        "BLOCK_C": triton.next_power_of_2(width), "BLOCK_M": options["block_m"], "BLOCK_H": options["block_h"],
        "BLOCK_K": options["block_k"], "PRECISION": "tf32x3",
    }  # fmt: skip
    steps = [name for name in names if name[1:].isdigit()]
    pointers = [name for name in names if name not in (*constants, *steps, "rows", "blocks")]
    signature = dict.fromkeys((name for name in names if name not in constants), "i32")
    signature |= {name: "*fp32" if name.startswith("partial") else POINTER[dtype] for name in pointers}
    return Specimen(
        f"transition {kind} {str(dtype)[6:]} c{width} h{hidden} {options['block_m']}x{options['block_h']}",
        kernel, signature, {name: value for name, value in constants.items() if name in names},
        options["num_warps"], options["num_stages"], dtype != torch.float32 and wgmma_rows >= 64,
        divisible=(*pointers, *steps),
    )  # fmt: skip


def specimens() -> list[Specimen]:
    """The forward kernel in every type, size and candidate that ships."""
    found = []
    for dtype in POINTER:
        for size in SIZES:
            half, single, more = FORWARD[width_class(size[0])]
            for options in [single] if dtype == torch.float32 else [half, *more]:
                names = forward_kernel.arg_names
                found.append(specimen("forward", forward_kernel, names, dtype, size, options, options["block_m"]))
    return found
