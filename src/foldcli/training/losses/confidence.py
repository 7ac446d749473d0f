"""Losses of the confidence heads: pLDDT, predicted aligned error, experimentally resolved atoms."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from foldcli.config import LossConfig
from foldcli.geometry.atoms import residue_table, squared_edges
from foldcli.geometry.lddt import DistanceErrors
from foldcli.geometry.rigid import Rigid
from foldcli.geometry.tables import constant
from foldcli.protein import residues
from foldcli.shapes import Float, ResidueIndex, ResidueMask, Tensor
from foldcli.training.losses.average import masked_mean
from foldcli.training.losses.cross_entropy import cross_entropy
from foldcli.training.losses.truth import Truth

SIDE_CHAIN = np.array([float(name not in ("N", "CA", "C", "CB", "O")) for name in residues.ATOM37])


def well_resolved(resolution: Float[Tensor, "*b"], config: LossConfig) -> Float[Tensor, "*b"]:
    """1 for samples whose resolution is good enough to learn confidence from; 0 is unknown (Suppl. Sec. 1.9.6)."""
    return ((resolution >= config.min_resolution) & (resolution <= config.max_resolution)).float()


def lddt(logits: Float[Tensor, "*b i bins"], found: DistanceErrors, truth: Truth) -> Float[Tensor, "*b"]:
    """Cross entropy of the binned lDDT-CA of each residue of the prediction (Suppl. Sec. 1.9.6, Alg. 29)."""
    bin_count = logits.shape[-1]
    bins = (found.lddt(-1) * bin_count).long().clamp(max=bin_count - 1)
    return masked_mean(cross_entropy(logits, bins), truth.ca_mask, 1)


def aligned_error(
    logits: Float[Tensor, "*b i j bins"], backbone: Rigid, truth: Truth, last_break: float
) -> Float[Tensor, "*b"]:
    """Cross entropy of the binned position error of CA j in backbone frame i (Suppl. Sec. 1.9.7)."""
    with torch.no_grad():
        squared = (_local(backbone) - _local(truth.backbone)).square().sum(-1)
        bins = torch.bucketize(squared, constant(squared_edges(0.0, last_break, logits.shape[-1] - 1), squared))
    pairs = truth.backbone_mask.unsqueeze(-1) * truth.backbone_mask.unsqueeze(-2)
    return masked_mean(cross_entropy(logits, bins), pairs, 2)


def _local(frames: Rigid) -> Float[Tensor, "*b i j 3"]:
    """Origins of all frames in each frame's coordinates; its own must be exactly zero, the first bin's lower edge."""
    origins = frames.translation
    return frames.invert_apply(origins.unsqueeze(-3).expand(*origins.shape[:-1], *origins.shape[-2:]))


def resolved(
    logits: Float[Tensor, "*b i 37"], truth: Truth, aatype: ResidueIndex, mask: ResidueMask
) -> Float[Tensor, "*b"]:
    """Cross entropy of which atoms are resolved in the structure (Suppl. Sec. 1.9.10, Eq. 43).

    A sample without any side-chain atom comes from a source that has none: its side chains are not counted.
    """
    existing = residue_table(residues.ATOM37_MASK, aatype, logits) * mask.unsqueeze(-1)
    beyond = constant(SIDE_CHAIN, existing)
    side_chains = (truth.mask * beyond).amax((-1, -2))
    counted = 1 - beyond * (1 - side_chains[..., None, None])
    return masked_mean(binary_cross_entropy_with_logits(logits, truth.mask, reduction="none"), existing * counted, 2)
