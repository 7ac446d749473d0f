"""Masked mean."""

from foldcli.shapes import Float, Tensor


def masked_mean(values: Float[Tensor, "..."], mask: Float[Tensor, "..."], axes: int) -> Float[Tensor, "*b"]:
    """Mean over the last `axes` axes where the mask is 1, or 0 if it is 1 nowhere; the mask may be broadcast."""
    over = tuple(range(-axes, 0))
    mask = mask.expand_as(values)
    return (values * mask).sum(over) / (mask.sum(over) + 1e-8)
