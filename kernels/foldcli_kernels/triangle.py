"""Both fused halves of triangle multiplication (Suppl. Alg. 11), around the library's batched product."""

from foldcli_kernels.triangle_operands import triangle_operands
from foldcli_kernels.triangle_update import triangle_update

__all__ = ["triangle_operands", "triangle_update"]
