"""Layer norm and several linear projections of its result."""

from foldcli_kernels.norm_linear.operator import add_norm_linear, norm_linear

__all__ = ["add_norm_linear", "norm_linear"]
