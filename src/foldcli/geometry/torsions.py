"""Torsion angles from known atoms (Suppl. Sec. 1.2.9, Table 2)."""

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.geometry.tables import constant
from foldcli.protein import residues
from foldcli.protein.residues import CA, C, N, O
from foldcli.shapes import Atoms37, Atoms37Mask, Float, Int, Tensor

SLOTS = len(residues.ATOM37)
# Added below square roots, as in AlphaFold: missing atoms (all at the origin) give zeros, never NaN.
EPSILON = 1e-8


def _quartets() -> NDArray[np.int64]:
    """Four atoms of each torsion by residue type [21, 7, 4]: slots 0..36 are the previous residue's, 37..73 its own."""
    own = SLOTS
    backbone = [
        [CA, C, own + N, own + CA],  # pre-omega
        [C, own + N, own + CA, own + C],  # phi
        [own + N, own + CA, own + C, own + O],  # psi by the oxygen, which is half a turn from the next N
    ]
    return np.concatenate([np.tile(backbone, (21, 1, 1)), own + residues.CHI_ATOMS], axis=1)


QUARTETS = _quartets()
PSI_TURNED = np.array([1, 1, -1, 1, 1, 1, 1], np.float32)[:, None]
EXISTS = np.concatenate([np.ones((21, 3), np.float32), residues.CHI_MASK], axis=1)
PERIODIC = np.concatenate([np.zeros((21, 3), np.float32), residues.CHI_PI_PERIODIC], axis=1)


def torsion_angles(
    aatype: Int[Tensor, "*b i"], positions: Atoms37, mask: Atoms37Mask
) -> tuple[Float[Tensor, "*b i 7 2"], Float[Tensor, "*b i 7 2"], Float[Tensor, "*b i 7"]]:
    """Sine and cosine of pre-omega, phi, psi and chi1 to chi4 of each residue (Suppl. Sec. 1.2.9, Table 2; Alg. 21).

    aatype: 0..20, and anything above (a gap) counts as unknown. Returns the torsions, the same with pi-periodic ones
    turned by pi, and a mask of those whose four atoms are all known. Undefined torsions keep the value that their
    atoms give, mostly (0, 0), as in AlphaFold at inference (template embeddings see it); AlphaFold sets them to (1, 0)
    only with `zero_init=False`.
    """
    kind = aatype.long().clamp(max=residues.UNKNOWN)
    quartet = constant(QUARTETS, positions)[kind]
    torsions = _dihedral(_gather(_with_previous(positions), quartet))
    present = _gather(_with_previous(mask[..., None]), quartet).squeeze(-1)
    torsions = torsions * constant(PSI_TURNED, torsions)
    turned = 1 - 2 * constant(PERIODIC, torsions)[kind]
    return torsions, torsions * turned[..., None], present.prod(-1) * constant(EXISTS, present)[kind]


def _with_previous(x: Float[Tensor, "*b i 37 d"]) -> Float[Tensor, "*b i 74 d"]:
    """Concatenate the previous residue's atoms and each residue's own; the first residue gets zeros."""
    before = torch.cat([torch.zeros_like(x[..., :1, :, :]), x[..., :-1, :, :]], dim=-3)
    return torch.cat([before, x], dim=-2)


def _gather(atoms: Float[Tensor, "*b i 74 d"], quartet: Int[Tensor, "*b i 7 4"]) -> Float[Tensor, "*b i 7 4 d"]:
    index = quartet.flatten(-2)[..., None].expand(*quartet.shape[:-2], -1, atoms.shape[-1])
    return torch.gather(atoms, -2, index).reshape(*quartet.shape, -1)


def _dihedral(atoms: Float[Tensor, "*b 4 3"]) -> Float[Tensor, "*b 2"]:
    """Sine and cosine of the dihedral angle about the bond between the second and the third atom."""
    first, second, third, fourth = atoms.unbind(-2)
    bond = _unit(third - second)
    toward = _unit(_perpendicular(first - third, bond))
    across = _perpendicular(fourth - third, bond)
    cosine, sine = (across * toward).sum(-1), (across * torch.linalg.cross(bond, toward)).sum(-1)
    return _unit(torch.stack([sine, cosine], dim=-1))


def _perpendicular(v: Float[Tensor, "*b 3"], bond: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """The component of v perpendicular to a unit vector."""
    part = v - (v * bond).sum(-1, keepdim=True) * bond
    # For collinear atoms, such as the missing ones before the first residue, only rounding errors remain: set them to
    # zero. AlphaFold normalises them to a direction that depends on the device.
    rounding = part.square().sum(-1, keepdim=True) < 1e-12 * v.square().sum(-1, keepdim=True)
    return part.masked_fill(rounding, 0)


def _unit(v: Tensor) -> Tensor:
    return v / torch.sqrt(v.square().sum(-1, keepdim=True) + EPSILON)
