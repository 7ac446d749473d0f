"""The true structure as losses need it: atoms, frames and torsions under both names of symmetric atoms."""

from dataclasses import dataclass
from functools import cached_property

import torch

from foldcli.data.training.sample import Labels
from foldcli.geometry.atoms import atoms37_to_14, pseudo_beta, residue_table
from foldcli.geometry.rigid import Rigid
from foldcli.geometry.rigid_groups import group_frames
from foldcli.geometry.torsions import torsion_angles
from foldcli.model.features import Features
from foldcli.protein import residues
from foldcli.protein.stereochemistry import ATOM14_AMBIGUOUS, ATOM14_OTHER_NAME
from foldcli.shapes import Atoms14, Atoms37, Atoms37Mask, Float, Points, ResidueIndex, ResidueMask, Tensor


@dataclass(frozen=True)
class Truth:
    """A sample's known structure, in angstrom; masks are 1 where something is known, and 0 on padding.

    What a loss asks for is computed then, and kept. An `_alt` is the same under the alternative names of symmetric
    atoms, with the same mask unless it has its own.
    """

    aatype: ResidueIndex
    mask: Atoms37Mask  # atoms of the labels
    positions: Atoms37  # missing ones at the origin

    @cached_property
    def _known(self) -> Float[Tensor, "*b i 37 4"]:
        """Positions, and the mask as a fourth coordinate."""
        return torch.cat([self.positions, self.mask.unsqueeze(-1)], dim=-1)

    @cached_property
    def _atoms(self) -> Float[Tensor, "*b i 14 4"]:
        return atoms37_to_14(self.aatype, self._known)

    @property
    def atoms(self) -> Atoms14:
        return self._atoms[..., :3]

    @property
    def atoms_mask(self) -> Float[Tensor, "*b i 14"]:
        return self._atoms[..., 3]

    @cached_property
    def atoms_alt(self) -> Atoms14:
        return self.atoms.gather(-2, self._other_name.unsqueeze(-1).expand_as(self.atoms))

    @cached_property
    def atoms_alt_mask(self) -> Float[Tensor, "*b i 14"]:
        return self.atoms_mask.gather(-1, self._other_name)

    @cached_property
    def _other_name(self) -> Tensor:
        return residue_table(ATOM14_OTHER_NAME, self.aatype, self.atoms)

    @cached_property
    def ambiguous(self) -> Float[Tensor, "*b i 14"]:
        """1 for symmetric atoms."""
        return residue_table(ATOM14_AMBIGUOUS, self.aatype, self.atoms).to(self.atoms.dtype)

    @property
    def frames(self) -> Rigid:
        """Frames [i, 6] of `rigid_groups.HEAVY_ATOM_GROUPS`."""
        return self._groups[0]

    @property
    def frames_alt(self) -> Rigid:
        return self._groups[1]

    @property
    def frames_mask(self) -> Float[Tensor, "*b i 6"]:
        return self._groups[2]

    @cached_property
    def _groups(self) -> tuple[Rigid, Rigid, Float[Tensor, "*b i 6"]]:
        return group_frames(self.aatype, self.positions, self.mask)

    @property
    def chi(self) -> Float[Tensor, "*b i 4 2"]:
        """Sine and cosine."""
        return self._torsions[0][..., 3:, :]

    @property
    def chi_alt(self) -> Float[Tensor, "*b i 4 2"]:
        return self._torsions[1][..., 3:, :]

    @property
    def chi_mask(self) -> Float[Tensor, "*b i 4"]:
        return self._torsions[2][..., 3:]

    @cached_property
    def _torsions(self) -> tuple[Float[Tensor, "*b i 7 2"], Float[Tensor, "*b i 7 2"], Float[Tensor, "*b i 7"]]:
        return torsion_angles(self.aatype, self.positions, self.mask)

    @property
    def beta(self) -> Points:
        """CB, or CA of glycine."""
        return self._beta[..., :3]

    @property
    def beta_mask(self) -> ResidueMask:
        return self._beta[..., 3]

    @cached_property
    def _beta(self) -> Float[Tensor, "*b i 4"]:
        return pseudo_beta(self.aatype, self._known)

    @property
    def backbone(self) -> Rigid:
        """Frames [i] of N, CA and C."""
        return Rigid(self.frames.rotation[..., 0, :, :], self.frames.translation[..., 0, :])

    @property
    def backbone_mask(self) -> ResidueMask:
        return self.frames_mask[..., 0]

    @property
    def ca(self) -> Points:
        return self.atoms[..., 1, :]

    @property
    def ca_mask(self) -> ResidueMask:
        return self.mask[..., residues.CA]


def truth_of(labels: Labels, features: Features) -> Truth:
    """The truth from labels; any atoms may be missing, and a residue without any is masked everywhere."""
    mask = labels.mask * features.seq_mask.unsqueeze(-1)
    return Truth(features.aatype, mask, labels.positions * mask.unsqueeze(-1))
