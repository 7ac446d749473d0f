"""Torsion angles of residues whose atoms are known (Suppl. Sec. 1.2.9, Table 2)."""

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.protein import residues
from foldcli.protein.residues import CA, C, N, O
from foldcli.shapes import Atoms37, Atoms37Mask, Float, Int, Tensor

SLOTS = len(residues.ATOM37)
# 1e-8: what AlphaFold adds below its square roots, so that missing atoms (all at the origin) give zeros, never NaN.
EPSILON = 1e-8


def _quartets() -> NDArray[np.int64]:
    """The four atoms of each torsion of each residue type [21, 7, 4]: 0..36 of the residue before, 37..73 its own."""
    own = SLOTS
    backbone = [
        [CA, C, own + N, own + CA],  # pre-omega
        [C, own + N, own + CA, own + C],  # phi
        [own + N, own + CA, own + C, own + O],  # psi, seen from the oxygen: half a turn away
    ]
    return np.concatenate([np.tile(backbone, (21, 1, 1)), own + residues.CHI_ATOMS], axis=1)


QUARTETS = _quartets()
EXISTS = np.concatenate([np.ones((21, 3), np.float32), residues.CHI_MASK], axis=1)
PERIODIC = np.concatenate([np.zeros((21, 3), np.float32), residues.CHI_PI_PERIODIC], axis=1)


def torsion_angles(
    aatype: Int[Tensor, "*b i"], positions: Atoms37, mask: Atoms37Mask
) -> tuple[Float[Tensor, "*b i 7 2"], Float[Tensor, "*b i 7 2"], Float[Tensor, "*b i 7"]]:
    """Sine and cosine of pre-omega, phi, psi and chi1 to chi4 of each residue (Suppl. Sec. 1.2.9, Table 2; Alg. 21).

    aatype: 0..20, and anything above (a gap) counts as unknown. Returns the torsions, the same with the pi-periodic
    ones turned by pi, and which are defined: all four atoms are there. An undefined torsion keeps what its atoms give
    (0, 0 for most), as in AlphaFold at inference, whose templates' embedding sees it. Only where AlphaFold is run with
    `zero_init=False` does it put (1, 0) in their place.
    """
    kind = aatype.long().clamp(max=residues.UNKNOWN)
    quartet = _table(QUARTETS, kind)
    torsions = _dihedral(_gather(_with_previous(positions), quartet))
    present = _gather(_with_previous(mask[..., None]), quartet).squeeze(-1)
    torsions = torsions * torsions.new_tensor([1, 1, -1, 1, 1, 1, 1])[:, None]
    turned = 1 - 2 * _table(PERIODIC, kind).to(torsions)
    return torsions, torsions * turned[..., None], present.prod(-1) * _table(EXISTS, kind).to(present)


def _table(values: NDArray[np.generic], kind: Tensor) -> Tensor:
    return torch.from_numpy(values).to(kind.device)[kind]


def _with_previous(x: Float[Tensor, "*b i 37 d"]) -> Float[Tensor, "*b i 74 d"]:
    """Put before each residue's atoms those of the residue before it; the first has zeros there."""
    before = torch.cat([torch.zeros_like(x[..., :1, :, :]), x[..., :-1, :, :]], dim=-3)
    return torch.cat([before, x], dim=-2)


def _gather(atoms: Float[Tensor, "*b i 74 d"], quartet: Int[Tensor, "*b i 7 4"]) -> Float[Tensor, "*b i 7 4 d"]:
    index = quartet.flatten(-2)[..., None].expand(*quartet.shape[:-2], -1, atoms.shape[-1])
    return torch.gather(atoms, -2, index).reshape(*quartet.shape, -1)


def _dihedral(atoms: Float[Tensor, "*b 4 3"]) -> Float[Tensor, "*b 2"]:
    """Sine and cosine of the fourth atom's turn about the bond between the second and third."""
    first, second, third, fourth = atoms.unbind(-2)
    bond = _unit(third - second)
    toward = _unit(_across(first - third, bond))
    across = _across(fourth - third, bond)
    cosine, sine = (across * toward).sum(-1), (across * torch.linalg.cross(bond, toward)).sum(-1)
    return _unit(torch.stack([sine, cosine], dim=-1))


def _across(v: Float[Tensor, "*b 3"], bond: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """The part of v at right angles to a unit vector."""
    part = v - (v * bond).sum(-1, keepdim=True) * bond
    # Of atoms on a line, such as the two missing ones before the first residue, only rounding is left: call that zero,
    # where AlphaFold divides it by its own length and goes on with a direction that the device decides.
    rounding = part.square().sum(-1, keepdim=True) < 1e-12 * v.square().sum(-1, keepdim=True)
    return part.masked_fill(rounding, 0)


def _unit(v: Tensor) -> Tensor:
    return v / torch.sqrt(v.square().sum(-1, keepdim=True) + EPSILON)
