"""How the kernels of triangle multiplication walk over pairs, read weights and end a weight's gradient.

Every kernel takes a tile of BLOCK_P positions. Positions count through the pairs (i, k) of one batch entry with the
length of k rounded up to a multiple of 16, so that a tile of a channel-major tensor is read and written in vectors.
"""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.layer_norm.statistics import standardise, standardise_backward


@triton.jit
def pair_indices(tile, rows, length, padded, BLOCK_P: tl.constexpr):
    """Return both indices of a tile's pairs [BLOCK_P] in int64, and which of the pairs exist."""
    position = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    first = position // padded
    second = position % padded
    return first.to(tl.int64), second.to(tl.int64), (first < rows) & (second < length)


@triton.jit
def load_pairs(x, start, inside, step, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Load a tile [P, BLOCK] as float32, zero outside; start [P]: offset of each pair's first channel; step: stride."""
    channel = tl.arange(0, BLOCK)
    real = inside[:, None] & (channel < WIDTH)[None, :]
    # int64: channels times pairs pass 2^31 from 4097 residues on.
    return tl.load(x + start[:, None] + (channel.to(tl.int64) * step)[None, :], mask=real, other=0.0).to(tl.float32)


@triton.jit
def load_norm_vector(x, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Load scale or offset of a layer norm [BLOCK] as float32, zero beyond WIDTH."""
    channel = tl.arange(0, BLOCK)
    return tl.load(x + channel, mask=channel < WIDTH, other=0.0).to(tl.float32)


@triton.jit
def load_normed_pairs(x, start, inside, step, scale, offset, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Load a tile of pairs [P, BLOCK] and return it normalised, in the type of x."""
    standard, _ = standardise(load_pairs(x, start, inside, step, WIDTH, BLOCK), WIDTH, BLOCK)
    normed = standard * load_norm_vector(scale, WIDTH, BLOCK)[None, :] + load_norm_vector(offset, WIDTH, BLOCK)[None, :]
    return normed.to(x.dtype.element_ty)


@triton.jit
def load_weight_rows(weight, row, inside, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Load rows [N, BLOCK] of a weight, zero outside."""
    channel = tl.arange(0, BLOCK)
    real = inside[:, None] & (channel < WIDTH)[None, :]
    return tl.load(weight + row[:, None] * WIDTH + channel[None, :], mask=real, other=0.0)


@triton.jit
def load_bias_vector(bias, row, inside, HAS_BIAS: tl.constexpr, BLOCK: tl.constexpr):
    """Load the bias of some rows of a weight [BLOCK] as float32, zero where there is none."""
    if HAS_BIAS:
        return tl.load(bias + row, mask=inside, other=0.0).to(tl.float32)
    else:
        return tl.zeros([BLOCK], tl.float32)


@triton.jit
def load_folded_weight(
    weight, bias, scale, offset, row, inside, HAS_BIAS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Load rows of a weight and their bias, the layer norm's scale and offset folded in: for standardised channels."""
    rows = load_weight_rows(weight, row, inside, WIDTH, BLOCK)
    shift = tl.sum(rows.to(tl.float32) * load_norm_vector(offset, WIDTH, BLOCK)[None, :], axis=1)
    folded = (rows.to(tl.float32) * load_norm_vector(scale, WIDTH, BLOCK)[None, :]).to(rows.dtype)
    return folded, load_bias_vector(bias, row, inside, HAS_BIAS, BLOCK_N) + shift


@triton.jit
def store_weight_share(partial, sums, value, total, line, row, inside, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Write one program's share of the gradients of a weight, value [N, BLOCK], and of its bias, total [N].

    partial [lines, WIDTH], sums [lines]: float32; line: where this program's lines begin.
    """
    channel = tl.arange(0, BLOCK)
    real = inside[:, None] & (channel < WIDTH)[None, :]
    tl.store(partial + (line + row)[:, None] * WIDTH + channel[None, :], value, mask=real)
    tl.store(sums + line + row, total, mask=inside)


@triton.jit
def store_pair_gradient(
    x,  # input of the layer norm: read again, from a near cache, rather than kept in registers
    start, inside,  # [P]: where each pair's first channel lies in x, and whether the pair exists
    step,  # stride of the channels of x
    total,  # [P, BLOCK] float32: gradient of the normalised pairs
    scale,  # [WIDTH]: of the layer norm
    to, target, to_step,  # where the gradient of x is written: tensor, offset of each pair, stride of its channels
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Take the gradient of a tile of normalised pairs back to their layer norm's input x, and write it."""
    standard, reciprocal = standardise(load_pairs(x, start, inside, step, WIDTH, BLOCK), WIDTH, BLOCK)
    result = standardise_backward(total * load_norm_vector(scale, WIDTH, BLOCK)[None, :], standard, reciprocal, WIDTH)
    channel = tl.arange(0, BLOCK)
    tl.store(
        to + target[:, None] + (channel.to(tl.int64) * to_step)[None, :],
        result.to(to.dtype.element_ty),
        mask=inside[:, None] & (channel < WIDTH)[None, :],
    )


@triton.jit
def gate_gradients(grad, value, gate, keep):
    """Return the gradients of a masked, gated value and of its gate's logit."""
    opened = tl.sigmoid(gate)
    grad = grad * keep
    return grad * opened, grad * value * opened * (1.0 - opened)
