"""Gated attention with pair bias, over rows or columns."""

from foldcli_kernels.attention.operator import gated_attention, key_fill

__all__ = ["gated_attention", "key_fill"]
