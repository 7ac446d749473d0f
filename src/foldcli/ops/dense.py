"""Layer norm, linear projections of its result, and the transition."""

from collections.abc import Sequence

import torch.nn.functional as F

from foldcli.ops.dispatch import dispatched, too_wide
from foldcli.shapes import Float, Tensor

LAYER_NORM_EPS = 1e-5
# Scale and offset of a layer norm; weight [out, in] and bias [out] of a dense layer.
Norm = tuple[Tensor, Tensor]
Dense = tuple[Tensor, Tensor | None]


def _unsupported(x: Tensor, *_: object) -> str:
    return too_wide(x.shape[-1], 512)


@dispatched("foldcli_kernels.layer_norm:layer_norm")
def layer_norm(x: Float[Tensor, "*b c"], norm: Norm) -> Float[Tensor, "*b c"]:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift; statistics in float32."""
    return F.layer_norm(x, x.shape[-1:], *norm, LAYER_NORM_EPS)


@dispatched("foldcli_kernels.norm_linear:norm_linear", _unsupported)
def norm_linear(
    x: Float[Tensor, "*b c"], norm: Norm, projections: Sequence[Dense], mask: Float[Tensor, "*b"] | None = None
) -> list[Tensor]:
    """Project one normalised input several times, in one pass over it, and multiply the results by the mask."""
    normed = layer_norm(x, norm)
    found = [F.linear(normed, *dense) for dense in projections]
    return found if mask is None else [projected * mask.unsqueeze(-1) for projected in found]


@dispatched("foldcli_kernels.transition:transition", _unsupported)
def transition(x: Float[Tensor, "*b c"], norm: Norm, expand: Dense, contract: Dense) -> Float[Tensor, "*b c"]:
    """Layer norm and two dense layers with a rectifier between them, on every position alone (Suppl. Alg. 9, 15)."""
    return F.linear(F.linear(layer_norm(x, norm), *expand).relu_(), *contract)
