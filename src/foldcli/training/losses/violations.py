"""The loss of structural violations (Suppl. Sec. 1.9.11)."""

import torch

from foldcli.geometry.atoms import residue_table
from foldcli.geometry.violations import OVERLAP, clashing_pairs, length_of, outside_bounds, peptide_errors
from foldcli.model.features import Features
from foldcli.protein import residues
from foldcli.protein import stereochemistry as known
from foldcli.shapes import Atoms14, Float, Tensor
from foldcli.training.losses.average import masked_mean

# In the 14-slot layout N, CA, C, O and CB come first.
BEFORE_SIDE_CHAINS = 5


def violations(atoms: Atoms14, features: Features, side_chains: bool = True) -> Float[Tensor, "*b"]:
    """Errors beyond tolerance of bonds and angles between residues, and of clashes for each atom (Suppl. Eq. 44 to 47).

    side_chains: whether atoms beyond CB count.
    """
    exists = residue_table(residues.ATOM14_MASK, features.aatype, atoms) * features.seq_mask.unsqueeze(-1)
    if not side_chains:
        exists = exists * (torch.arange(exists.shape[-1], device=exists.device) < BEFORE_SIDE_CHAINS)
    errors, bonded = peptide_errors(atoms, exists, features.aatype, features.residue_index)
    between = torch.stack([masked_mean(error, bonded, 1) for error in errors]).sum(0)
    within = 2 * outside_bounds(atoms, exists, features.aatype).sum((-1, -2, -3))
    return between + (clashes_between(atoms, exists, features) + within) / (exists.sum((-1, -2)) + 1e-6)


def clashes_between(atoms: Atoms14, exists: Float[Tensor, "*b i 14"], features: Features) -> Float[Tensor, "*b"]:
    """Overlap of clashing atoms of different residues, summed over both atoms, in angstrom (Suppl. Eq. 46)."""
    shape, count = atoms.shape[:-3], atoms.shape[-3] * 14
    points = atoms.reshape(-1, count, 3)
    radius = residue_table(known.ATOM14_RADIUS, features.aatype, atoms).reshape(-1, count)
    index = features.residue_index.reshape(len(points), -1)
    sample, first, second = clashing_pairs(points.detach(), exists.reshape(-1, count), radius, index)
    # Only the few clashing pairs are differentiated.
    distance = length_of(points[sample, first] - points[sample, second])
    overlap = (radius[sample, first] + radius[sample, second] - OVERLAP - distance).relu()
    return 2 * points.new_zeros(len(points)).index_add(0, sample, overlap).reshape(shape)
