"""Global attention: one query a head for each column, to keys and values that the heads share (Suppl. Alg. 19)."""

from foldcli_kernels.global_attention.operator import global_attention

__all__ = ["global_attention"]
