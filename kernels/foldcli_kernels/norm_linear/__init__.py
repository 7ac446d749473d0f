"""Layer norm and several linear projections of its result."""

from foldcli_kernels.norm_linear.operator import norm_linear

__all__ = ["norm_linear"]
