"""Mean outer product of columns, projected to the pairs."""

from foldcli_kernels.outer_product.operator import outer_product_mean

__all__ = ["outer_product_mean"]
