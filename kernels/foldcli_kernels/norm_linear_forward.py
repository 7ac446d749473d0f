"""Layer norm and one or two projections of its result in one pass over x; the normalised rows stay on chip.

From 128 channels to 512 a row takes 131,072 FLOPs, 256 bytes to read and 1024 to write: on an H100 memory sets the
pace. So rows are read once, for both projections, and the weights come from the L2 cache.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.launch import Parameters, declare, launch_parameters, size_class
from foldcli_kernels.layer_norm_rows import dense_channels, empty_rows, row_offset, share_rows, standardise
from foldcli_kernels.norm_linear_sliced import product, sliced_product, statistics
from foldcli_kernels.specimen import POINTER, Specimen

WIDTHS = (64, 128, 256, 384)
NARROW = 16  # the least that a matrix instruction takes; the pairs' bias has 4 or 8 heads


def _parameters(block_m: int, block_n: int, block_k: int, num_warps: int, num_stages: int) -> Parameters:
    """block_k: channels taken at once; rows stay on chip whole where it is their width."""
    return {
        "block_m": block_m,
        "block_n": block_n,
        "block_k": block_k,
        "num_warps": num_warps,
        "num_stages": num_stages,
    }


# By the width rounded up to a power of two: those that always work, those in float32, and what tuning tries.
FORWARD = {
    64: (_parameters(128, 64, 64, 4, 3), [_parameters(128, 128, 64, 8, 3)]),
    128: (_parameters(128, 64, 128, 8, 3), [_parameters(64, 64, 128, 4, 3), _parameters(128, 128, 128, 8, 2)]),
    256: (_parameters(128, 64, 256, 8, 2), [_parameters(64, 64, 256, 8, 2), _parameters(64, 64, 256, 4, 2)]),
    512: (_parameters(64, 64, 64, 4, 2), []),
}
FORWARD_SINGLE = _parameters(64, 32, 32, 4, 2)
for _width, (_half, _more) in FORWARD.items():
    declare(f"norm_linear_forward_c{_width}", _half, {torch.float32: FORWARD_SINGLE}, [_half, *_more])


@triton.jit
def project(
    x, start, normed, mean, reciprocal, scale, offset, weight, bias, out, row, rows, WIDTH: tl.constexpr,
    OUT: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the projection of a block of rows, BLOCK_N of the OUT columns at a time."""
    channel = tl.arange(0, BLOCK_C)
    for first in range(0, OUT, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        if BLOCK_K < WIDTH:
            result = sliced_product(
                x, start, row < rows, mean, reciprocal, scale, offset, weight, column, WIDTH, 1,
                WIDTH, OUT, True, BLOCK_M, BLOCK_N, BLOCK_K, PRECISION,
            )  # fmt: skip
        else:
            at = weight + column[None, :] * WIDTH + channel[:, None]
            tile = tl.load(at, mask=(column < OUT)[None, :] & (channel < WIDTH)[:, None], other=0.0)
            result = product(normed, tile, tl.zeros([BLOCK_M, BLOCK_N], tl.float32), PRECISION)
        if HAS_BIAS:
            result += tl.load(bias + column, mask=column < OUT, other=0.0).to(tl.float32)[None, :]
        at = out + row.to(tl.int64)[:, None] * OUT + column[None, :]
        tl.store(at, result.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (column < OUT)[None, :])


@triton.jit
def normalise(x, start, inside, scale, offset, WIDTH: tl.constexpr, BLOCK_C: tl.constexpr):
    """Load rows and return them scaled and shifted in the type of x, standardised in float32, and 1 / deviation."""
    channel = tl.arange(0, BLOCK_C)
    real = channel < WIDTH
    values = tl.load(x + start[:, None] + channel[None, :], mask=inside[:, None] & real[None, :], other=0.0)
    standard, reciprocal = standardise(values.to(tl.float32), WIDTH, BLOCK_C)
    factor = tl.load(scale + channel, mask=real, other=0.0).to(tl.float32)
    shift = tl.load(offset + channel, mask=real, other=0.0).to(tl.float32)
    normed = (standard * factor[None, :] + shift[None, :]).to(x.dtype.element_ty)
    return normed, standard, reciprocal


@triton.jit
def forward_kernel(
    x, scale, offset, weight, bias, out, weight2, bias2, out2, rows, middle, inner, x0, x1, x2,
    WIDTH: tl.constexpr, OUT: tl.constexpr, OUT2: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_BIAS2: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_N2: tl.constexpr,
    BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    start = row_offset(row, middle, inner, x0, x1, x2)
    normed, mean = 0.0, 0.0
    if BLOCK_K < WIDTH:
        mean, reciprocal = statistics(x, start, row < rows, WIDTH, BLOCK_M, BLOCK_K)
    else:
        normed, _, reciprocal = normalise(x, start, row < rows, scale, offset, WIDTH, BLOCK_C)
    project(
        x, start, normed, mean, reciprocal, scale, offset, weight, bias, out, row, rows,
        WIDTH, OUT, HAS_BIAS, BLOCK_C, BLOCK_M, BLOCK_N, BLOCK_K, PRECISION,
    )  # fmt: skip
    if OUT2 > 0:
        project(
            x, start, normed, mean, reciprocal, scale, offset, weight2, bias2, out2, row, rows,
            WIDTH, OUT2, HAS_BIAS2, BLOCK_C, BLOCK_M, BLOCK_N2, BLOCK_K, PRECISION,
        )  # fmt: skip


def matrix_precision(dtype: torch.dtype) -> str:
    """How float32 products use tensor cores: three terms, near float32, unless torch was told that TF32 will do."""
    return "tf32x3" if dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest" else "tf32"


def width_class(width: int) -> int:
    """Width of the table of launch parameters that rows of this width use."""
    return max(64, triton.next_power_of_2(width))


def column_block(width: int, block: int) -> int:
    """Columns of one tile: no more than there are, no fewer than a matrix instruction takes."""
    return min(block, max(NARROW, triton.next_power_of_2(width)))


def launch_forward(
    x: Tensor, scale: Tensor, offset: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> list[Tensor]:
    """Project normalised rows by one or two weights [out, c]; results in the memory order of x [*b, c]."""
    width, outs = x.shape[-1], [weight.shape[0] for weight in weights]
    results = [empty_rows(x, out) for out in outs]
    (x,), rows = share_rows(dense_channels(x))
    name = f"norm_linear_forward_c{width_class(width)}"
    options = dict(launch_parameters(name, x.dtype, size_class(rows.count), x.device))
    block_m, block_n, block_k = (options.pop(key) for key in ("block_m", "block_n", "block_k"))
    first, last = ([weights[i].contiguous(), biases[i], results[i]] for i in (0, -1))
    with torch.cuda.device_of(x):
        forward_kernel[(triton.cdiv(rows.count, block_m),)](
            x, scale, offset, *first, *last, rows.count, rows.middle, rows.inner, *rows.strides[0],
            width, outs[0], outs[1] if len(outs) > 1 else 0, biases[0] is not None, biases[-1] is not None,
            triton.next_power_of_2(width), block_m, column_block(outs[0], block_n), column_block(outs[-1], block_n),
            block_k, matrix_precision(x.dtype), **options,
        )  # fmt: skip
    return results


def specimens() -> list[Specimen]:
    """The forward kernel in every type and candidate, for each packed projection that the model makes."""
    found = []
    for dtype, pointer in POINTER.items():
        for width in WIDTHS:
            for options in forward_candidates(width, dtype):
                for out, out2 in ((4 * width, 0), (4 * width, 4)):
                    found.append(_specimen(dtype, pointer, width, out, out2, options))
    return found


def forward_candidates(width: int, dtype: torch.dtype) -> list[Parameters]:
    """Launch parameters that ship for one width and type."""
    half, more = FORWARD[width_class(width)]
    return [FORWARD_SINGLE] if dtype == torch.float32 else [half, *more]


def _specimen(dtype: torch.dtype, pointer: str, width: int, out: int, out2: int, options: Parameters) -> Specimen:
    block_m, block_n, block_k = options["block_m"], column_block(out, options["block_n"]), options["block_k"]
    constants = {
        "WIDTH": width, "OUT": out, "OUT2": out2, "HAS_BIAS": False, "HAS_BIAS2": False,
        "BLOCK_C": triton.next_power_of_2(width), "BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_N2": NARROW,
        "BLOCK_K": block_k, "PRECISION": "tf32x3", "middle": 1, "inner": 1,
    }  # fmt: skip
    pointers = ("x", "scale", "offset", "weight", "bias", "out", "weight2", "bias2", "out2")
    steps = ("x0", "x1", "x2")
    name = f"norm_linear forward {str(dtype)[6:]} c{width} -> {out} + {out2} {block_m}x{block_n}x{block_k}"
    return Specimen(
        name, forward_kernel, dict.fromkeys(pointers, pointer) | dict.fromkeys((*steps, "rows"), "i32"), constants,
        options["num_warps"], options["num_stages"], dtype != torch.float32, divisible=(*pointers, *steps),
    )  # fmt: skip
