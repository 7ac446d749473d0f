"""The true structure as losses need it: atoms, frames and torsions under both names of symmetric atoms."""

from dataclasses import dataclass

from foldcli.data.training.sample import Labels
from foldcli.geometry.atoms import atoms37_to_14, pseudo_beta, residue_table
from foldcli.geometry.rigid import Rigid
from foldcli.geometry.rigid_groups import group_frames
from foldcli.geometry.torsions import torsion_angles
from foldcli.model.features import Features
from foldcli.protein import residues
from foldcli.protein.stereochemistry import ATOM14_AMBIGUOUS, ATOM14_OTHER_NAME
from foldcli.shapes import Atoms14, Atoms37Mask, Float, Points, ResidueMask, Tensor


@dataclass(frozen=True)
class Truth:
    """A sample's known structure, in angstrom; masks are 1 where something is known, and 0 on padding.

    An `_alt` is the same under the alternative names of symmetric atoms, with the same mask unless it has its own.
    """

    mask: Atoms37Mask  # atoms of the labels
    atoms: Atoms14
    atoms_alt: Atoms14
    atoms_mask: Float[Tensor, "*b i 14"]
    atoms_alt_mask: Float[Tensor, "*b i 14"]
    ambiguous: Float[Tensor, "*b i 14"]  # 1 for symmetric atoms
    frames: Rigid  # [i, 6], those of `rigid_groups.HEAVY_ATOM_GROUPS`
    frames_alt: Rigid
    frames_mask: Float[Tensor, "*b i 6"]
    chi: Float[Tensor, "*b i 4 2"]  # sine and cosine
    chi_alt: Float[Tensor, "*b i 4 2"]
    chi_mask: Float[Tensor, "*b i 4"]
    beta: Points  # CB, or CA of glycine
    beta_mask: ResidueMask

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
    aatype = features.aatype
    mask = labels.mask * features.seq_mask.unsqueeze(-1)
    positions = labels.positions * mask.unsqueeze(-1)
    atoms, atoms_mask = atoms37_to_14(aatype, positions), atoms37_to_14(aatype, mask.unsqueeze(-1))
    other = residue_table(ATOM14_OTHER_NAME, aatype, atoms)
    frames, frames_alt, frames_mask = group_frames(aatype, positions, mask)
    torsions, torsions_alt, torsions_mask = torsion_angles(aatype, positions, mask)
    spread = mask.unsqueeze(-1).expand_as(positions)
    return Truth(
        mask=mask, atoms=atoms, atoms_mask=atoms_mask.squeeze(-1),
        atoms_alt=atoms.gather(-2, other.unsqueeze(-1).expand_as(atoms)),
        atoms_alt_mask=atoms_mask.squeeze(-1).gather(-1, other),
        ambiguous=residue_table(ATOM14_AMBIGUOUS, aatype, atoms).to(atoms.dtype),
        frames=frames, frames_alt=frames_alt, frames_mask=frames_mask,
        chi=torsions[..., 3:, :], chi_alt=torsions_alt[..., 3:, :], chi_mask=torsions_mask[..., 3:],
        beta=pseudo_beta(aatype, positions), beta_mask=pseudo_beta(aatype, spread)[..., 0],
    )  # fmt: skip
