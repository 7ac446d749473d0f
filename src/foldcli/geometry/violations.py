"""Structural violations: bonds and angles between residues, clashes, distances in residues (Suppl. Sec. 1.9.11)."""

import torch
from torch.linalg import vecdot

from foldcli.geometry.atoms import residue_table
from foldcli.geometry.lddt import distances
from foldcli.geometry.tables import constant
from foldcli.protein import residues
from foldcli.protein import stereochemistry as known
from foldcli.shapes import Atoms14, Bool, Float, ResidueIndex, Tensor

DEVIATIONS = 12.0
OVERLAP = 1.5
PAIRS = 1 << 24  # of atoms, whose distances are computed at once
LOWER, UPPER = known.distance_bounds(DEVIATIONS, OVERLAP)
N, CA, C = range(3)
# Slot of cysteine's SG. As in AlphaFold's code, no two atoms in this slot clash, whatever the residue types.
SULPHUR = 5


def violating_residues(
    atoms: Float[Tensor, "i 14 3"], exists: Float[Tensor, "i 14"], aatype: Tensor, residue_index: Tensor,
    cyclic: bool = False,
) -> Bool[Tensor, "i"]:  # fmt: skip
    """Residues with any violation beyond its tolerance; a broken peptide bond counts for both of its residues.

    residue_index: goes up by one where residues are bonded, by more where another chain begins; cyclic: the last
    residue is bonded to the first.
    """
    errors, bonded = peptide_errors(atoms, exists, aatype, residue_index)
    broken = ((errors > 0) & (bonded > 0)).any(0)
    bad = (outside_bounds(atoms, exists, aatype) > 0).any(-1).any(-1)
    bad[:-1] |= broken
    bad[1:] |= broken
    radius = residue_table(known.ATOM14_RADIUS, aatype, atoms)
    alone = atoms.reshape(1, -1, 3), exists.reshape(1, -1), radius.reshape(1, -1), residue_index[None]
    _, first, second = clashing_pairs(*alone)
    if cyclic:
        ends = torch.tensor([-1, 0])
        errors, bonded = peptide_errors(atoms[ends], exists[ends], aatype[ends], torch.arange(2))
        bad[ends] |= ((errors > 0) & (bonded > 0)).any()
        closing = (first == N) & (second == atoms.shape[0] * 14 - 14 + C)
        first, second = first[~closing], second[~closing]
    bad[first // 14] = True
    bad[second // 14] = True
    return bad


def peptide_errors(
    atoms: Atoms14, exists: Float[Tensor, "*b i 14"], aatype: ResidueIndex, residue_index: ResidueIndex
) -> tuple[Float[Tensor, "3 *b bonds"], Float[Tensor, "*b bonds"]]:
    """Errors beyond tolerance of bond C-N, in angstrom, and of the cosines of its two angles (Suppl. Eq. 44, 45).

    Returns the three errors [3, bonds] and a mask of bonds that exist. As in AlphaFold's code, the angle CA-C-N has the
    tolerance of the bond length.
    """
    (ca, c), (n, next_ca) = (atoms[..., :-1, k, :] for k in (CA, C)), (atoms[..., 1:, k, :] for k in (N, CA))
    bonded = (residue_index.diff(dim=-1) == 1).to(atoms.dtype) * exists[..., :-1, C] * exists[..., 1:, N]
    to_proline = aatype[..., 1:] == residues.INDEX["P"]
    bond = torch.where(
        to_proline[..., None], constant(known.PEPTIDE_BOND_TO_PROLINE, atoms), constant(known.PEPTIDE_BOND, atoms)
    )
    (to_ca, _), (to_n, length), (n_to_ca, _) = _direction(ca - c), _direction(n - c), _direction(next_ca - n)
    errors = [
        _beyond(length - bond[..., 0], DEVIATIONS * bond[..., 1]),
        _beyond(vecdot(to_ca, to_n) - known.COS_CA_C_N, DEVIATIONS * known.PEPTIDE_BOND[1]),
        _beyond(vecdot(-to_n, n_to_ca) - known.COS_C_N_CA[0], DEVIATIONS * known.COS_C_N_CA[1]),
    ]
    return torch.stack(errors), bonded


@torch.no_grad()
def clashing_pairs(
    points: Float[Tensor, "b n 3"],
    exists: Float[Tensor, "b n"],
    radius: Float[Tensor, "b n"],
    residue_index: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (sample, atom, atom) of the pairs that clash: of two residues and not bonded (Suppl. Eq. 46).

    points: 14 atoms for each residue, in angstrom; residue_index: [b, n / 14].
    """
    residue = residue_index.repeat_interleave(14, dim=-1)
    slot = torch.arange(14, device=points.device).repeat(residue_index.shape[-1])
    reach = torch.where(exists > 0, radius, -torch.inf)
    found, rows = list[Tensor](), max(1, PAIRS // points[..., 0].numel())
    for start in range(0, points.shape[1], rows):
        some = slice(start, start + rows)
        near = distances(points[:, some], points) < reach[:, some, None] + reach[:, None] - OVERLAP
        near &= residue[:, some, None] < residue[:, None]
        found.append(near.nonzero() + residue.new_tensor([0, start, 0]))
    sample, first, second = torch.cat(found).unbind(1)
    peptide = (slot[first] == C) & (slot[second] == N) & (residue[sample, first] + 1 == residue[sample, second])
    sulphurs = (slot[first] == SULPHUR) & (slot[second] == SULPHUR)
    clash = ~(peptide | sulphurs)
    return sample[clash], first[clash], second[clash]


def outside_bounds(
    atoms: Atoms14, exists: Float[Tensor, "*b i 14"], aatype: ResidueIndex
) -> Float[Tensor, "*b i 14 14"]:
    """How far distances within each residue are outside their bounds, in angstrom (Suppl. Eq. 46)."""
    lower, upper = (residue_table(bound, aatype, atoms) for bound in (LOWER, UPPER))
    distance = length_of(atoms.unsqueeze(-2) - atoms.unsqueeze(-3))
    pairs = exists.unsqueeze(-1) * exists.unsqueeze(-2) * (1 - torch.eye(14, device=atoms.device, dtype=atoms.dtype))
    return ((lower - distance).relu() + (distance - upper).relu()) * pairs


def length_of(v: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Length of vectors; of a zero vector, too, it has a gradient, which is zero."""
    return (v.square().sum(-1) + 1e-10).sqrt()


def _direction(v: Float[Tensor, "*n 3"]) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n"]]:
    length = (v.square().sum(-1) + 1e-6).sqrt()
    return v / length.unsqueeze(-1), length


def _beyond(error: Float[Tensor, "*n"], tolerance: Float[Tensor, "*n"] | float) -> Float[Tensor, "*n"]:
    """The part of an error that exceeds its tolerance."""
    return ((error.square() + 1e-6).sqrt() - tolerance).relu()
