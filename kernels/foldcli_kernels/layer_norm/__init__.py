"""Layer norm over the last axis."""

from foldcli_kernels.layer_norm.operator import layer_norm

__all__ = ["layer_norm"]
