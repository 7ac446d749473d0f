"""Residual update with dropout, whose mask is shared along one axis."""

from foldcli_kernels.dropout.operator import dropout_add

__all__ = ["dropout_add"]
