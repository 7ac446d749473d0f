"""Rename symmetric atoms of the truth to match the prediction best (Suppl. Alg. 26)."""

from dataclasses import dataclass

import numpy as np
import torch

from foldcli.geometry.atoms import residue_table
from foldcli.geometry.lddt import distances
from foldcli.geometry.rigid import Rigid
from foldcli.protein.stereochemistry import ATOM14_AMBIGUOUS
from foldcli.shapes import Atoms14, Bool, Float, ResidueIndex, Tensor
from foldcli.training.losses.truth import Truth

# Slots of the symmetric atoms by residue type, none of which has more than four; the rest are fillers.
SLOTS = np.argsort(~ATOM14_AMBIGUOUS, axis=-1, kind="stable")[:, :4]


@dataclass(frozen=True)
class Target:
    """Atoms and frames of the truth under one name for each symmetric atom."""

    atoms: Atoms14
    atoms_mask: Float[Tensor, "*b i 14"]
    frames: Rigid


def renamed(truth: Truth, predicted: Atoms14, aatype: ResidueIndex) -> Target:
    """The truth with each residue's atoms under the better of their two names."""
    alt = _alternative_is_better(truth, predicted, aatype)
    residue, group = alt[..., None], alt[..., None, None]
    rotation = torch.where(group.unsqueeze(-1), truth.frames_alt.rotation, truth.frames.rotation)
    return Target(
        atoms=torch.where(group, truth.atoms_alt, truth.atoms),
        atoms_mask=torch.where(residue, truth.atoms_alt_mask, truth.atoms_mask),
        frames=Rigid(rotation, truth.frames.translation),
    )


@torch.no_grad()
def _alternative_is_better(truth: Truth, predicted: Atoms14, aatype: ResidueIndex) -> Bool[Tensor, "*b i"]:
    """Whether a residue's distances from symmetric to other atoms agree better under the alternative names.

    As in AlphaFold, an atom that is missing only under the alternative name counts as one at the origin.
    """
    slot = residue_table(SLOTS, aatype, predicted)
    symmetric = truth.ambiguous * truth.atoms_mask
    rows = symmetric.gather(-1, slot).flatten(-2)
    columns = ((1 - truth.ambiguous) * truth.atoms_mask).flatten(-2)

    def from_symmetric(atoms: Atoms14, others: Atoms14) -> Tensor:
        chosen = atoms.gather(-2, slot.unsqueeze(-1).expand(*slot.shape, 3))
        return distances(chosen.flatten(-3, -2), others.flatten(-3, -2))

    expected = from_symmetric(predicted, predicted)
    first = (from_symmetric(truth.atoms, truth.atoms) - expected).abs_() @ columns.unsqueeze(-1)
    other = (from_symmetric(truth.atoms_alt, truth.atoms) - expected).abs_() @ columns.unsqueeze(-1)
    gain = (rows * (first - other).squeeze(-1)).unflatten(-1, (-1, 4)).sum(-1)
    return gain > 0
