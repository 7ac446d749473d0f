"""Layer norm and the transition, the dense work around attention."""

import torch.nn.functional as F

from foldcli.shapes import Float, Tensor

LAYER_NORM_EPS = 1e-5


def layer_norm(x: Float[Tensor, "*b c"], scale: Float[Tensor, " c"], offset: Float[Tensor, " c"]) -> Float[Tensor, "*b c"]:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift; statistics in float32."""
    return F.layer_norm(x, x.shape[-1:], scale, offset, LAYER_NORM_EPS)


def transition(
    x: Float[Tensor, "*b c"],
    expand: tuple[Float[Tensor, "k c"], Float[Tensor, " k"]],
    contract: tuple[Float[Tensor, "c k"], Float[Tensor, " c"]],
) -> Float[Tensor, "*b c"]:
    """Two dense layers with a rectifier between them, on every position alone (Suppl. Alg. 9, 15)."""
    return F.linear(F.linear(x, *expand).relu_(), *contract)
