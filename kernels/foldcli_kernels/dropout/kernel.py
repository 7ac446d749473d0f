"""Residual with dropout, forward and backward: the mask is drawn again in backward, so that none is stored.

Drawing a number needs about 70 integer operations, more than fit into the time that memory traffic takes: each is drawn
once for several positions along the shared axis.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["second", "shared"])
def dropout_apply_mask(
    x,  # [outer, second, shared, between, channels]: residual, as all tensors here; read where HAS_X
    update,  # added with dropout
    out,  # written: x + update * mask / (1 - rate)
    seed,  # one int64
    threshold,  # rate * 2^24: numbers below it are dropped
    growth,  # 1 / (1 - rate)
    second, shared, between, channels,  # lengths of the axes; a line of the mask is (outer, second)
    x0, x1, x2, x3, x4, u0, u1, u2, u3, u4, o0, o1, o2, o3, o4,  # strides of x, update and out along the five axes
    HAS_X: tl.constexpr,  # whether there is a residual: in forward
    BLOCK_M: tl.constexpr,  # numbers of the mask that a program draws
    BLOCK_S: tl.constexpr, STEPS: tl.constexpr,  # positions along the shared axis at once, and how often
):  # fmt: skip
    """Draw BLOCK_M numbers of the mask and apply them to BLOCK_S * STEPS positions that share them."""
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
