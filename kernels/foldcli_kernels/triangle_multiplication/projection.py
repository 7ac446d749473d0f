"""Gradients of a projection, and of the layer norm before it, from two sums over pairs."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def triangle_projection_gradients(
    sums,  # [OUT, WIDTH], then [OUT], float32: of output gradients times standardised inputs, and of output gradients
    weight,  # [OUT, WIDTH]
    scale, offset,  # [WIDTH]: of the layer norm
    grads,  # [OUT, WIDTH], [OUT], [WIDTH] and [WIDTH]: written, those of weight, bias, scale and offset
    OUT: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_N: tl.constexpr,  # outputs taken at once
    BLOCK_C: tl.constexpr,  # channels of a program
):  # fmt: skip
    """Write all gradients of BLOCK_C channels; an input is standard * scale + offset, from which they follow."""
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = channel < WIDTH
    factor = tl.load(scale + channel, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    of_scale = tl.zeros([BLOCK_C], tl.float32)
    of_offset = tl.zeros([BLOCK_C], tl.float32)
    for first in range(0, OUT, BLOCK_N):
        row = first + tl.arange(0, BLOCK_N)
        at = row[:, None] * WIDTH + channel[None, :]
        real = (row < OUT)[:, None] & inside[None, :]
        along = tl.load(sums + at, mask=real, other=0.0)
        total = tl.load(sums + OUT * WIDTH + row, mask=row < OUT, other=0.0)
        values = tl.load(weight + at, mask=real, other=0.0).to(tl.float32)
        of_scale += tl.sum(along * values, axis=0)
        of_offset += tl.sum(total[:, None] * values, axis=0)
        of_weight = along * factor[None, :] + total[:, None] * shift[None, :]
        tl.store(grads + at, of_weight.to(grads.dtype.element_ty), mask=real)
        if tl.program_id(0) == 0:
            tl.store(grads + OUT * WIDTH + row, total.to(grads.dtype.element_ty), mask=row < OUT)
    grads += OUT * WIDTH + OUT
    tl.store(grads + channel, of_scale.to(grads.dtype.element_ty), mask=inside)
    tl.store(grads + WIDTH + channel, of_offset.to(grads.dtype.element_ty), mask=inside)
