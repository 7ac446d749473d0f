"""Gated attention with pair bias, forward (Suppl. Alg. 7, 8, 13, 14): online softmax, gate in the epilogue."""

# Triton's decorator and kernels carry no types, and its tuples grow.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,assignment"

import torch
import triton
import triton.language as tl
from torch import Tensor

from foldcli_kernels.attention_launch import declare_step, step_specimens, tile_of
from foldcli_kernels.attention_tiles import (
    BEYOND,
    DEAD,
    LOG2E,
    MASKED,
    load_bias,
    load_keep,
    load_tile,
    padded_bias,
    place,
    plain_mask,
    rows_adjacent,
    store_tile,
)
from foldcli_kernels.specimen import Specimen

declare_step("forward")


@triton.jit
def attend(q, k, v, keep, fill, offset, total, peak, mass, UNIT: tl.constexpr, PRECISION: tl.constexpr):
    """Add a tile of keys to the running softmax: weighted values `total`, largest logit `peak`, sum of weights `mass`.

    Logits are in units of the raw product q k, of which UNIT brings one into powers of two.
    """
    logits = tl.dot(q, tl.trans(k), offset, input_precision=PRECISION)
    logits = tl.where(keep[None, :], logits, fill[None, :])
    higher = tl.maximum(peak, tl.max(logits, 1))
    weight = tl.exp2(tl.fma(logits, UNIT, (higher * -UNIT)[:, None]))
    shrink = tl.exp2((peak - higher) * UNIT)
    total = tl.dot(weight.to(v.dtype), v, total * shrink[:, None], input_precision=PRECISION)
    return total, higher, mass * shrink + tl.sum(weight, 1)


@triton.jit
def attention_forward(
    packed, gate_bias, mask, bias, out, lse, heads, groups, length, pitch,
    packed_b: tl.int64, packed_g: tl.int64, packed_n: tl.int64,
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,
    out_b: tl.int64, out_g: tl.int64, out_n: tl.int64,
    DIM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend from BLOCK_M positions of ROWS rows at once, which share each tile of the bias."""
    SCALE: tl.constexpr = DIM**-0.5
    UNIT: tl.constexpr = SCALE * LOG2E
    row_groups = tl.cdiv(groups, ROWS)
    block, group, b, h = place(tl.program_id(0), tl.cdiv(length, BLOCK_M), row_groups, heads)
    first, hd = block * BLOCK_M, heads * DIM
    query = first + tl.arange(0, BLOCK_M)
    packed += b * packed_b + h * DIM
    mask += b * mask_b

    queries, totals, peaks, masses = (), (), (), ()
    for r in tl.static_range(ROWS):
        row = group * ROWS + r
        limit = tl.where(row < groups, length, 0)
        queries += (load_tile(packed + row * packed_g, first, packed_n, limit, BLOCK_M, DIM, WIDTH),)
        totals += (tl.zeros((BLOCK_M, WIDTH), tl.float32),)
        peaks += (tl.full((BLOCK_M,), BEYOND, tl.float32),)
        masses += (tl.zeros((BLOCK_M,), tl.float32),)

    ahead = load_bias(bias, b * heads + h, first, 0, length, pitch, BLOCK_M, BLOCK_N)
    for start in tl.range(0, length, BLOCK_N):
        offset = ahead.to(tl.float32) * (1 / SCALE)
        # Loaded a step early by hand: only operands of products are loaded ahead by the compiler.
        ahead = load_bias(bias, b * heads + h, first, start + BLOCK_N, length, pitch, BLOCK_M, BLOCK_N)
        new_totals, new_peaks, new_masses = (), (), ()
        for r in tl.static_range(ROWS):
            row = group * ROWS + r
            limit = tl.where(row < groups, length, 0)
            side = packed + row * packed_g
            k = load_tile(side + hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
            v = load_tile(side + 2 * hd, start, packed_n, limit, BLOCK_N, DIM, WIDTH)
            keep, fill = load_keep(mask + row * mask_g, start, mask_n, limit, BLOCK_N, MASKED)
            total, peak, mass = attend(
                queries[r], k, v, keep, fill, offset, totals[r], peaks[r], masses[r], UNIT, PRECISION
            )
            new_totals += (total,)
            new_peaks += (peak,)
            new_masses += (mass,)
        totals, peaks, masses = new_totals, new_peaks, new_masses

    channel = tl.arange(0, WIDTH)
    shift = tl.load(gate_bias + h * DIM + channel, mask=channel < DIM, other=0.0).to(tl.float32)
    for r in tl.static_range(ROWS):
        row = group * ROWS + r
        limit = tl.where(row < groups, length, 0)
        gate = load_tile(packed + row * packed_g + 3 * hd, first, packed_n, limit, BLOCK_M, DIM, WIDTH)
        gated = totals[r] / masses[r][:, None] * tl.sigmoid(gate.to(tl.float32) + shift[None, :])
        store_tile(out + b * out_b + row * out_g + h * DIM, first, out_n, limit, gated, BLOCK_M, DIM, WIDTH)
        # Beside a peak of -2^30 the logarithm of the sum would be lost to rounding.
        sums = tl.where(peaks[r] > MASKED / 2, peaks[r] * UNIT + tl.log2(masses[r]), DEAD)
        tl.store(lse + ((b * heads + h).to(tl.int64) * groups + row) * length + query, sums, mask=query < limit)


def launch_forward(
    packed: Tensor, gate_bias: Tensor, heads: int, mask: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gated values [b, g, n, hd] in the memory order of packed, and log-sum-exps [b, h, g, n], base 2."""
    packed, mask, bias = rows_adjacent(packed), plain_mask(mask), padded_bias(bias)
    out, lse = outputs(packed, heads)
    if not out.numel():
        return out, lse
    tile, options = tile_of("forward", packed, heads, bias)
    b, g, n, _ = packed.shape
    programs = triton.cdiv(n, tile["BLOCK_M"]) * triton.cdiv(g, tile["ROWS"]) * b * heads
    with torch.cuda.device_of(packed):
        attention_forward[(programs,)](
            packed, gate_bias, mask, bias, out, lse, heads, g, n, 0 if bias is None else bias.shape[-1],
            *packed.stride()[:3], *mask.stride(), *out.stride()[:3], **tile, **options,
        )  # fmt: skip
    return out, lse


def outputs(packed: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return empty tensors for the result and the log-sum-exps."""
    b, g, n, channels = packed.shape
    out = torch.empty_like(rows_adjacent(packed)[..., : channels // 4])  # keeps the order of the axes in memory
    return out, packed.new_empty((b, heads, g, n), dtype=torch.float32)


def specimens() -> list[Specimen]:
    """Every configuration of the forward kernel that ships."""
    return list(step_specimens("forward", attention_forward, frozenset({"packed", "bias", "out"}), ("bias",)))
