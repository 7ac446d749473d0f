"""Updates added to what they update, in one call with what comes next; for folding, since none has a gradient."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from foldcli.ops.dense import Dense, Norm, norm_linear, transition
from foldcli.ops.dispatch import dispatched, too_wide
from foldcli.ops.pair import outer_product_mean, triangle_update
from foldcli.shapes import Float, Tensor


def _unsupported(x: Tensor, update: Tensor, *_: object) -> str:
    """Their kernels hold rows whole on chip, for which those of float32 are too many bytes."""
    wide = "float32 rows, and its kernel takes half precision" if x.dtype == torch.float32 else ""
    return wide or too_wide(max(x.shape[-1], update.shape[-1]), 256)


@dispatched("foldcli_kernels.norm_linear:add_norm_linear", _unsupported)
def add_norm_linear(
    x: Float[Tensor, "*b c"], update: Float[Tensor, "*b e"], output: Dense, norm: Norm, projections: Sequence[Dense]
) -> tuple[Tensor, list[Tensor]]:
    """Project an update and add it; return the sum, and its projections as of `norm_linear`."""
    x = x + F.linear(update, *output)
    return x, norm_linear(x, norm, projections)


@dispatched("foldcli_kernels.transition:add_transition", _unsupported)
def add_transition(
    x: Float[Tensor, "*b c"], update: Float[Tensor, "*b e"], output: Dense, norm: Norm, expand: Dense, contract: Dense
) -> Float[Tensor, "*b c"]:
    """Project an update and add it; then add the transition of the sum."""
    x = x + F.linear(update, *output)
    return x + transition(x, norm, expand, contract)


@dispatched("foldcli_kernels.triangle_multiplication:add_triangle_update")
def add_triangle_update(
    product: Float[Tensor, "*b c i j"],
    z: Float[Tensor, "*b i j c_z"],
    center: Norm,
    output: Dense,
    norm: Norm,
    gate: Dense,
) -> Float[Tensor, "*b i j c_z"]:
    """Add the update by a triangle product to the pairs."""
    return z + triangle_update(product, z, center, output, norm, gate)


@dispatched("foldcli_kernels.outer_product:add_outer_product_mean")
def add_outer_product_mean(
    z: Float[Tensor, "*b i j f"],
    left: Float[Tensor, "*b s i c"],
    right: Float[Tensor, "*b s j e"],
    projection: Dense,
    count: Float[Tensor, "*b i j"],
) -> Float[Tensor, "*b i j f"]:
    """Add the mean outer product to the pairs."""
    return z + outer_product_mean(left, right, projection, count)
