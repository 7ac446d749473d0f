"""Backbones whose residues a model has put one by one, joined by the peptide bonds that chemistry knows."""

import inspect
from typing import Any

import torch
from torch.linalg import cross, vecdot
from torch.nn.functional import normalize

from foldcli.geometry.rigid import quaternion_to_rotation, update_quaternion
from foldcli.geometry.violations import length_of
from foldcli.protein.residues import CA, C, N, O
from foldcli.protein.stereochemistry import PEPTIDE_BOND
from foldcli.shapes import Float, Tensor

# An atom, one of the next residue, their distance across a trans peptide in angstrom (Engh & Huber 2001), its weight.
ACROSS = ((C, N, PEPTIDE_BOND[0], 4.0), (CA, N, 2.43, 2.0), (C, CA, 2.435, 2.0), (CA, CA, 3.80, 2.0))
# CA atoms that are no neighbours keep so far apart; those within the second distance are looked at. Angstrom.
APART, NEAR = 4.0, 8.0
CARBONYL = 1.231  # C=O, angstrom
# Weights of what a residue has moved, beside those of ACROSS, and how far it turns for a step of 1 angstrom.
MOVED, TURNED, RADIANS = 0.2, 0.1, 0.4
ITERATIONS = 1000


def close_peptides(positions: Float[Tensor, "i 37 3"]) -> Float[Tensor, "i 37 3"]:
    """Move whole residues as little as it takes for bonded, plane, trans peptides without clashes of CA atoms.

    positions: of one chain without gaps, in angstrom; side chains behind CB stay where they are. Minimizes squared
    deviations by L-BFGS (Liu & Nocedal 1989).
    """
    with torch.inference_mode(False), torch.enable_grad():
        start = positions[:, : O + 1].detach().double().cpu().clone()
        steps = torch.zeros(len(start), 6, dtype=start.dtype, requires_grad=True)
        first, second = torch.triu_indices(len(start), len(start), 2)
        near = length_of(start[first, CA] - start[second, CA]) < NEAR
        pairs = first[near], second[near]
        optimizer: torch.optim.LBFGS = _LBFGS(
            [steps], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
        )

        def energy() -> Tensor:
            steps.grad = None
            found = _strain(_moved(start, steps), pairs)
            found = found + MOVED * steps[:, :3].square().sum() + TURNED * steps[:, 3:].square().sum()
            found.backward()
            return found

        optimizer.step(energy)
        closed = _with_oxygen(_moved(start, steps.detach()))
    return torch.cat([closed.to(positions), positions[:, O + 1 :]], dim=1)


class _LBFGS(torch.optim.LBFGS):
    """torch's own, without the import of torch's compiler, a second, by what it wraps around this method."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        inspect.unwrap(torch.optim.LBFGS.add_param_group)(self, param_group)


def _moved(atoms: Float[Tensor, "i 5 3"], steps: Float[Tensor, "i 6"]) -> Float[Tensor, "i 5 3"]:
    """Residues shifted by the first half of their steps, and turned about their CA atoms by the other."""
    still = steps.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(steps), 4)
    turn = quaternion_to_rotation(update_quaternion(still, steps[:, 3:] * (RADIANS / 2)))
    center = atoms[:, CA : CA + 1]
    return (atoms - center) @ turn.mT + center + steps[:, None, :3]


def _strain(atoms: Float[Tensor, "i 5 3"], pairs: tuple[Tensor, Tensor]) -> Float[Tensor, ""]:
    """Squared deviations of all peptides from a trans one, and of CA atoms that come too near."""
    here, after = atoms[:-1], atoms[1:]
    bonds = [weight * (length_of(here[:, a] - after[:, b]) - far).square().sum() for a, b, far, weight in ACROSS]
    # the volume that CA, C, N and CA span: zero where the peptide is plane
    across = cross(after[:, N] - here[:, C], after[:, CA] - after[:, N])
    volume = vecdot(here[:, C] - here[:, CA], across)
    first, second = pairs
    overlap = (APART - length_of(atoms[first, CA] - atoms[second, CA])).relu()
    return torch.stack(bonds).sum() + volume.square().sum() + overlap.square().sum()


def _with_oxygen(atoms: Float[Tensor, "i 5 3"]) -> Float[Tensor, "i 5 3"]:
    """Each oxygen in the plane of its peptide; that of the last residue as it is."""
    ca, c, n = atoms[:-1, CA], atoms[:-1, C], atoms[1:, N]
    away = normalize(normalize(c - ca, dim=-1) + normalize(c - n, dim=-1), dim=-1)
    closed = atoms.clone()
    closed[:-1, O] = c + CARBONYL * away
    return closed
