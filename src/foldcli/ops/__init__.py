"""The operations that take most of the time: each body is plain PyTorch and defines what its kernel must compute."""

from foldcli.ops import onednn
from foldcli.ops.attention import KeyFill, gated_attention, global_attention, key_fill
from foldcli.ops.dense import Dense, Norm, layer_norm, norm_linear, transition
from foldcli.ops.dispatch import backend
from foldcli.ops.dropout import dropout_add
from foldcli.ops.pair import outer_product_mean, triangle_operands, triangle_product, triangle_update
from foldcli.ops.residual import add_norm_linear, add_outer_product_mean, add_transition, add_triangle_update

__all__ = [
    "Dense", "KeyFill", "Norm", "add_norm_linear", "add_outer_product_mean", "add_transition", "add_triangle_update",
    "backend", "dropout_add", "gated_attention", "global_attention", "key_fill", "layer_norm", "norm_linear",
    "outer_product_mean", "transition", "triangle_operands", "triangle_product", "triangle_update",
]  # fmt: skip

if onednn.mkl_lacks_avx512():
    onednn.OnednnMatmuls().install()
