"""What the attention kernels read in place of a mask: numbers to add, in rows that need no bounds."""

# Triton's decorator and kernels carry no types.
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from foldcli_kernels.attention.blocks import LOG2E, MASKED


@triton.jit(do_not_specialize=["groups"])
def attention_mask_fill(
    mask,  # [b, g, n]: not 0 where a key may be attended to
    fill,  # [b, g, keys_pitch]: written, what is added to the logits of each key, MASKED from n on
    unit,  # [b, g] float32: written, factor from logits to powers of two; 0 where all keys are masked
    groups, length,  # g and n
    keys_pitch,  # keys of a row of fill, a multiple of BLOCK
    mask_b: tl.int64, mask_g: tl.int64, mask_n: tl.int64,  # strides
    BLOCK: tl.constexpr,  # keys at once
):  # fmt: skip
    """Prepare the mask of one row. With the factor 0 a row whose keys are all masked attends to them evenly."""
    line = tl.program_id(0).to(tl.int64)
    mask += line // groups * mask_b + line % groups * mask_g
    kept = 0
    for start in range(0, keys_pitch, BLOCK):
        key = start + tl.arange(0, BLOCK)
        keep = tl.load(mask + key * mask_n, mask=key < length, other=0) != 0
        kept += tl.sum(keep.to(tl.int32), 0)
        tl.store(fill + line * keys_pitch + key, tl.where(keep, 0.0, MASKED))
    tl.store(unit + line, tl.where(kept > 0, LOG2E, 0.0))
