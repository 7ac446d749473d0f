"""Predicted structures that chemistry forbids: bonds and angles between residues, clashes (Suppl. Sec. 1.9.11)."""

import torch
from torch.linalg import vecdot

from foldcli.geometry.atoms import residue_table
from foldcli.geometry.lddt import distances
from foldcli.model.features import Features
from foldcli.protein import residues
from foldcli.protein import stereochemistry as known
from foldcli.shapes import Atoms14, Float, Tensor
from foldcli.training.losses.average import masked_mean

DEVIATIONS = 12.0
OVERLAP = 1.5
LOWER, UPPER = known.distance_bounds(DEVIATIONS, OVERLAP)
N, CA, C = range(3)
# The sulphur of cysteine. AlphaFold's code leaves out this slot of all residues where the paper means disulfides.
SULPHUR = 5


def violations(atoms: Atoms14, features: Features) -> Float[Tensor, "*b"]:
    """Bonds and angles between residues, and clashes per atom, all beyond their tolerance (Suppl. Eq. 44 to 47)."""
    exists = residue_table(residues.ATOM14_MASK, features.aatype, atoms) * features.seq_mask.unsqueeze(-1)
    clashes = clashes_between(atoms, exists, features) + violations_within(atoms, exists, features)
    return peptide_geometry(atoms, exists, features) + clashes / (exists.sum((-1, -2)) + 1e-6)


def peptide_geometry(atoms: Atoms14, exists: Float[Tensor, "*b i 14"], features: Features) -> Float[Tensor, "*b"]:
    """Length of the bond C-N, in angstrom, and cosines of its two angles (Suppl. Eq. 44, 45).

    As in AlphaFold's code, the angle CA-C-N has the tolerance of the bond's length.
    """
    (ca, c), (n, next_ca) = (atoms[..., :-1, k, :] for k in (CA, C)), (atoms[..., 1:, k, :] for k in (N, CA))
    bonded = (features.residue_index.diff(dim=-1) == 1).to(atoms.dtype) * exists[..., :-1, C] * exists[..., 1:, N]
    to_proline = features.aatype[..., 1:] == residues.INDEX["P"]
    bond = torch.where(
        to_proline[..., None], atoms.new_tensor(known.PEPTIDE_BOND_TO_PROLINE), atoms.new_tensor(known.PEPTIDE_BOND)
    )
    (to_ca, _), (to_n, length), (n_to_ca, _) = _direction(ca - c), _direction(n - c), _direction(next_ca - n)
    errors = [
        _beyond(length - bond[..., 0], DEVIATIONS * bond[..., 1]),
        _beyond(vecdot(to_ca, to_n) - known.COS_CA_C_N, DEVIATIONS * known.PEPTIDE_BOND[1]),
        _beyond(vecdot(-to_n, n_to_ca) - known.COS_C_N_CA[0], DEVIATIONS * known.COS_C_N_CA[1]),
    ]
    return torch.stack([masked_mean(error, bonded, 1) for error in errors]).sum(0)


def clashes_between(atoms: Atoms14, exists: Float[Tensor, "*b i 14"], features: Features) -> Float[Tensor, "*b"]:
    """How far atoms of two residues overlap, summed over the atoms of both, in angstrom (Suppl. Eq. 46)."""
    shape, count = atoms.shape[:-3], atoms.shape[-3] * 14
    points = atoms.reshape(-1, count, 3)
    radius = residue_table(known.ATOM14_RADIUS, features.aatype, atoms).reshape(-1, count)
    sample, first, second = _near(points.detach(), exists.reshape(-1, count), radius, features)
    # Few pairs are near enough to clash: only those take part in what is differentiated.
    distance = _length(points[sample, first] - points[sample, second])
    overlap = (radius[sample, first] + radius[sample, second] - OVERLAP - distance).relu()
    return 2 * points.new_zeros(len(points)).index_add(0, sample, overlap).reshape(shape)


@torch.no_grad()
def _near(
    points: Float[Tensor, "b n 3"], exists: Float[Tensor, "b n"], radius: Float[Tensor, "b n"], features: Features
) -> tuple[Tensor, ...]:
    """Sample and both atoms of each pair that clashes: of two residues, and no bond between them."""
    residue = features.residue_index.reshape(len(points), -1).repeat_interleave(14, dim=-1)
    slot = torch.arange(14, device=points.device).repeat(residue.shape[-1] // 14)
    reach = torch.where(exists > 0, radius, -torch.inf)
    near = distances(points, points) < reach.unsqueeze(-1) + reach.unsqueeze(-2) - OVERLAP
    near &= residue.unsqueeze(-1) < residue.unsqueeze(-2)
    sample, first, second = near.nonzero(as_tuple=True)
    peptide = (slot[first] == C) & (slot[second] == N) & (residue[sample, first] + 1 == residue[sample, second])
    sulphurs = (slot[first] == SULPHUR) & (slot[second] == SULPHUR)
    clash = ~(peptide | sulphurs)
    return sample[clash], first[clash], second[clash]


def violations_within(atoms: Atoms14, exists: Float[Tensor, "*b i 14"], features: Features) -> Float[Tensor, "*b"]:
    """How far distances within residues leave their bounds, summed over the atoms, in angstrom (Suppl. Eq. 46)."""
    lower, upper = (residue_table(bound, features.aatype, atoms) for bound in (LOWER, UPPER))
    distance = _length(atoms.unsqueeze(-2) - atoms.unsqueeze(-3))
    pairs = exists.unsqueeze(-1) * exists.unsqueeze(-2) * (1 - torch.eye(14, device=atoms.device, dtype=atoms.dtype))
    outside = (lower - distance).relu() + (distance - upper).relu()
    return 2 * (outside * pairs).sum((-1, -2, -3))


def _length(v: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    # 1e-10: coincident atoms have a gradient, which is zero.
    return (v.square().sum(-1) + 1e-10).sqrt()


def _direction(v: Float[Tensor, "*n 3"]) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n"]]:
    length = (v.square().sum(-1) + 1e-6).sqrt()
    return v / length.unsqueeze(-1), length


def _beyond(error: Float[Tensor, "*n"], tolerance: Float[Tensor, "*n"] | float) -> Float[Tensor, "*n"]:
    """What of an error exceeds its tolerance."""
    return ((error.square() + 1e-6).sqrt() - tolerance).relu()
