"""The hot operations: each body is plain PyTorch and is the definition."""

from foldcli.ops.attention import gated_attention, global_attention
from foldcli.ops.dense import layer_norm, transition
from foldcli.ops.pair import gated_operands, outer_product, triangle_product

__all__ = [
    "gated_attention", "gated_operands", "global_attention", "layer_norm", "outer_product", "transition",
    "triangle_product",
]  # fmt: skip
