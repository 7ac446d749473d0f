"""Mean outer product of columns, projected to the pairs."""

from foldcli_kernels.outer_product.operator import add_outer_product_mean, outer_product_mean

__all__ = ["add_outer_product_mean", "outer_product_mean"]
