"""Confidence from logits: pLDDT, expected aligned error, predicted TM-score (Suppl. Sec. 1.9.6, 1.9.7)."""

from collections.abc import Sequence

import torch

from foldcli.shapes import Float, ResidueMask, Tensor


def plddt(logits: Float[Tensor, "*b i bins"]) -> Float[Tensor, "*b i"]:
    """Expected lDDT-CA of each residue, 0 to 100 (Suppl. Alg. 29)."""
    bins = logits.shape[-1]
    centres = (torch.arange(bins, device=logits.device, dtype=logits.dtype) + 0.5) / bins
    return 100 * (logits.softmax(-1) * centres).sum(-1)


def error_bins(bins: int, last_break: float, like: Tensor) -> Float[Tensor, " bins"]:
    """Centres of the aligned-error bins, in angstrom; the last bin holds all larger errors."""
    step = last_break / (bins - 2)
    return (torch.arange(bins, device=like.device, dtype=like.dtype) + 0.5) * step


def expected_aligned_error(logits: Float[Tensor, "*b i j bins"], last_break: float) -> Float[Tensor, "*b i j"]:
    """Expected error of residue j when aligned on residue i, in angstrom."""
    return (logits.softmax(-1) * error_bins(logits.shape[-1], last_break, logits)).sum(-1)


def predicted_tm_score(
    logits: Float[Tensor, "*b i j bins"], last_break: float, weight: ResidueMask
) -> Float[Tensor, "*b"]:
    """Predicted TM-score, 0 to 1: the best over all residues to align on (Suppl. Sec. 1.9.7)."""
    return (aligned_tm_scores(logits, last_break, weight) * weight).amax(-1)


def aligned_tm_scores(
    logits: Float[Tensor, "*b i j bins"], last_break: float, weight: Float[Tensor, "*b j"]
) -> Float[Tensor, "*b i"]:
    """Predicted TM-score when aligned on each residue, 0 to 1."""
    term = (logits.softmax(-1) * _closeness(logits, last_break, weight.sum(-1))[..., None, None, :]).sum(-1)
    share = weight / (weight.sum(-1, keepdim=True) + 1e-8)
    return (term * share.unsqueeze(-2)).sum(-1)


def chain_tm_scores(
    logits: Float[Tensor, "i j bins"], last_break: float, chain_lengths: Sequence[int]
) -> Float[Tensor, "i k 2"]:
    """Predicted TM-score of each chain alone when aligned on each residue: by the complex's length, by the chain's.

    The residues j are those of all chains, one chain after the other; i may be some of them. The interface's pTM of a
    complex (Evans et al. 2021, Sec. 2.4) is a mean of the former over the other chains.
    """
    scores = []
    for chain in logits.split(list(chain_lengths), dim=-2):
        lengths = logits.new_tensor([sum(chain_lengths), chain.shape[-2]])
        scores.append(chain.softmax(-1).mean(-2) @ _closeness(logits, last_break, lengths).mT)
    return torch.stack(scores, dim=-2)


def _closeness(logits: Tensor, last_break: float, length: Float[Tensor, "*b"]) -> Float[Tensor, "*b bins"]:
    """What an error of each bin adds to the TM-score of so many residues, 0 to 1."""
    d0 = 1.24 * (length.clamp(min=19) - 15) ** (1 / 3) - 1.8
    return 1 / (1 + (error_bins(logits.shape[-1], last_break, logits) / d0.unsqueeze(-1)) ** 2)
