"""Cross entropy of binned values."""

from foldcli.shapes import Float, Int, Tensor


def cross_entropy(logits: Float[Tensor, "*n bins"], bins: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """-log of the softmax at the given bin, for any leading axes."""
    return logits.logsumexp(-1) - logits.gather(-1, bins.unsqueeze(-1)).squeeze(-1)
