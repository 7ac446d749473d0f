"""A violation is attributed to the residues that take part in it, and to no others."""

import numpy as np
import pytest
import torch

from foldcli.geometry.atoms import atoms37_to_14
from foldcli.geometry.violations import violating_residues
from foldcli.protein.residues import residue_types
from tests.folding.test_relax import fragment


def violating(move: tuple[slice, slice, list[float]] | None = None) -> list[int]:
    """Violating residues of the fragment after moving some atoms of some residues, in angstrom."""
    chain = fragment()
    if move:
        residues, slots, shift = move
        chain.positions[residues, slots] += np.array(shift, np.float32)
    aatype = torch.from_numpy(residue_types(chain.sequence).astype(np.int64))
    atoms = atoms37_to_14(aatype, torch.from_numpy(chain.positions))
    exists = atoms37_to_14(aatype, torch.from_numpy(chain.mask).float().unsqueeze(-1)).squeeze(-1)
    return violating_residues(atoms, exists, aatype, torch.arange(len(aatype))).nonzero().flatten().tolist()


EVERY = slice(None)


def test_a_crystal_structure_has_none() -> None:
    assert violating() == []


def test_a_broken_bond_is_of_both_its_residues() -> None:
    assert violating((slice(10, None), EVERY, [0.0, 30.0, 30.0])) == [9, 10]


def test_a_distorted_residue_is_one() -> None:
    beta = slice(3, 4)
    assert violating((slice(8, 9), beta, [0.8, 0.0, 0.0])) == [8]


@pytest.mark.parametrize("pairs", [1 << 24, 3000])  # of all atoms, and of ten with all others
def test_atoms_of_two_residues_that_clash_are_of_both(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldcli.geometry.violations.PAIRS", pairs)
    chain = fragment()
    shift = chain.positions[2, 1] - chain.positions[18, 1]
    clashing = violating((slice(15, None), EVERY, (shift + 0.5).tolist()))
    assert {2, 14, 15, 18} <= set(clashing) and 9 not in clashing
