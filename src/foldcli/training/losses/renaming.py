"""Symmetric atoms take the names under which the truth lies nearer to the prediction (Suppl. Alg. 26)."""

from dataclasses import replace

import numpy as np
import torch

from foldcli.geometry.atoms import residue_table
from foldcli.geometry.lddt import distances
from foldcli.geometry.rigid import Rigid
from foldcli.protein.stereochemistry import ATOM14_AMBIGUOUS
from foldcli.shapes import Atoms14, Bool, ResidueIndex, Tensor
from foldcli.training.losses.truth import Truth

# The symmetric atoms' slots come first: no residue type has more than four.
SLOTS = np.argsort(~ATOM14_AMBIGUOUS, axis=-1, kind="stable")[:, :4]


def renamed(truth: Truth, predicted: Atoms14, aatype: ResidueIndex) -> Truth:
    """The truth with each residue's better naming in place of its first; `_alt` stays as it is."""
    alt = _alternative_is_better(truth, predicted, aatype)
    residue, group = alt[..., None], alt[..., None, None]
    rotation = torch.where(group.unsqueeze(-1), truth.frames_alt.rotation, truth.frames.rotation)
    return replace(
        truth,
        atoms=torch.where(group, truth.atoms_alt, truth.atoms),
        atoms_mask=torch.where(residue, truth.atoms_alt_mask, truth.atoms_mask),
        frames=Rigid(rotation, truth.frames.translation),
    )


@torch.no_grad()
def _alternative_is_better(truth: Truth, predicted: Atoms14, aatype: ResidueIndex) -> Bool[Tensor, "*b i"]:
    """Whether distances from a residue's symmetric atoms to all others agree better under the other names.

    As in AlphaFold, an atom that is missing under the other name alone counts as one at the origin.
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
