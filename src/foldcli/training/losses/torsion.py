"""Losses of torsion angles: side-chain torsions, and the norm of raw ones (Suppl. Alg. 27)."""

import torch

from foldcli.model.structure import StructureState
from foldcli.shapes import Float, ResidueMask, Tensor
from foldcli.training.losses.average import masked_mean
from foldcli.training.losses.truth import Truth


def chi(states: list[StructureState], truth: Truth) -> Float[Tensor, "*b"]:
    """Squared distance of chi torsions on the unit circle, to the nearer alternative, over all layers (Suppl. Alg. 27).

    Backbone torsions are left out, as in AlphaFold's code: FAPE covers them.
    """
    predicted = torch.stack([state.torsions[..., 3:, :] for state in states], dim=-4)
    error, error_alt = ((predicted - true.unsqueeze(-4)).square().sum(-1) for true in (truth.chi, truth.chi_alt))
    return masked_mean(torch.minimum(error, error_alt), truth.chi_mask.unsqueeze(-3), 3)


def angle_norm(states: list[StructureState], mask: ResidueMask) -> Float[Tensor, "*b"]:
    """Mean deviation of raw torsions from unit length, over all layers (Suppl. Alg. 27, line 3)."""
    raw = torch.stack([state.raw_torsions for state in states], dim=-4)
    norm = (raw.square().sum(-1) + 1e-6).sqrt()
    return masked_mean((norm - 1).abs(), mask[..., None, :, None], 3)
