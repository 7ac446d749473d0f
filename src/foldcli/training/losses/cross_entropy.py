"""Cross entropy of binned values."""

import torch.nn.functional as F

from foldcli.shapes import Float, Int, Tensor


def cross_entropy(logits: Float[Tensor, "*n bins"], bins: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """-log of the softmax at the given bin, for any leading axes."""
    return F.cross_entropy(logits.flatten(0, -2), bins.flatten(), reduction="none").view(bins.shape)
