"""Binned distances between CB atoms (Suppl. Sec. 1.9.8)."""

import torch

from foldcli.config import HeadsConfig
from foldcli.geometry.atoms import squared_edges
from foldcli.geometry.tables import constant
from foldcli.shapes import Float, Tensor
from foldcli.training.losses.average import masked_mean
from foldcli.training.losses.cross_entropy import cross_entropy
from foldcli.training.losses.truth import Truth


def distogram(logits: Float[Tensor, "*b i j bins"], truth: Truth, heads: HeadsConfig) -> Float[Tensor, "*b"]:
    """Cross entropy of binned distances between residues' CB atoms, CA for glycine (Suppl. Sec. 1.9.8, Eq. 41)."""
    squared = (truth.beta.unsqueeze(-2) - truth.beta.unsqueeze(-3)).square().sum(-1)
    breaks = squared_edges(heads.distogram_first_break, heads.distogram_last_break, logits.shape[-1] - 1)
    bins = torch.bucketize(squared, constant(breaks, squared))
    pairs = truth.beta_mask.unsqueeze(-1) * truth.beta_mask.unsqueeze(-2)
    return masked_mean(cross_entropy(logits, bins), pairs, 2)
