"""Triangle multiplication (Suppl. Alg. 11): what stands before and after the library's batched matrix product.

The operands are layer norm, gated projections and mask (operands_forward.py, operands_backward.py); the update is both
layer norms, projection and gate (update_forward.py, update_backward.py).
"""

from foldcli_kernels.triangle_multiplication.operands import triangle_operands
from foldcli_kernels.triangle_multiplication.update import add_triangle_update, triangle_update

__all__ = ["add_triangle_update", "triangle_operands", "triangle_update"]
