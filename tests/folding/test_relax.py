"""A perturbed real fragment relaxes to a structure without violations; one that cannot be relaxed is left as it is."""

import json
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from foldcli.data.formats.pdb import read_pdb
from foldcli.errors import FoldcliError
from foldcli.folding.amber import relax, violating
from foldcli.folding.relax import relax_ranked
from foldcli.geometry.backbone import close_peptides
from foldcli.protein.residues import ATOM37_INDEX, ATOM37_MASK, CA, CB, INDEX, C, N, O
from foldcli.protein.structure import Prediction, Structure
from foldcli.timers import Timers
from tests.report.complexes import dimer
from tests.report.samples import provenance

FRAGMENT = Path(__file__).parents[1] / "golden" / "fragment.pdb"
OXT = ATOM37_INDEX["OXT"]


def fragment(noise: float = 0.0) -> Structure:
    """21 residues of a crystal structure; noise: standard deviation of each coordinate's shift, in angstrom."""
    deposition = read_pdb(FRAGMENT)
    chain = deposition.chain(deposition.polymers[0])
    length = len(chain.sequence)
    shift = np.random.default_rng(0).normal(0, noise, chain.positions.shape) * chain.mask[..., None]
    positions = (chain.positions + shift).astype(np.float32)
    plddt = np.linspace(40, 90, length).astype(np.float32)
    return Structure(chain.sequence, positions, chain.mask, np.arange(1, length + 1), plddt)


def ring(length: int) -> torch.Tensor:
    """Residues around a circle, [i, 37, 3]: CA atoms 3.8 angstrom apart, and all peptides open."""
    turn = 2 * torch.pi * torch.arange(length) / length
    outward = torch.stack([turn.cos(), turn.sin(), torch.zeros(length)], -1)
    along = torch.stack([-turn.sin(), turn.cos(), torch.zeros(length)], -1)
    positions = torch.zeros(length, 37, 3)
    positions[:, CA] = 1.9 / torch.sin(torch.tensor(torch.pi / length)) * outward
    up = torch.tensor([0.0, 0.0, 1.0]) * (-1.0) ** torch.arange(length).unsqueeze(-1)
    for atom, step in ((N, -1.2 * along + 0.83 * up), (C, 1.25 * along + 0.86 * up), (CB, -0.9 * up + 1.24 * outward)):
        positions[:, atom] = positions[:, CA] + step
    positions[:, O] = positions[:, C] + 1.23 * up
    return positions


def whole(structure: Structure) -> np.ndarray:
    """Mask of all heavy atoms, with OXT at the end of the chain."""
    mask = ATOM37_MASK[[INDEX[letter] for letter in structure.sequence]] > 0
    mask[-1, OXT] = True
    return mask


def test_a_shaken_structure_comes_to_rest() -> None:
    shaken = fragment(noise=0.15)
    found = relax(shaken, cuda=False)
    assert found.energy[1] < 0 < found.energy[0]
    assert found.violations[0] > 5 and found.violations[1] == 0
    assert 0.1 < found.moved < 0.6
    assert (found.structure.mask == whole(shaken)).all()
    assert found.structure.sequence == shaken.sequence and (found.structure.b_factor == shaken.b_factor).all()
    rest = fragment().positions[:, CA] - found.structure.positions[:, CA]
    assert np.linalg.norm(rest, axis=-1).max() < 0.7


def test_a_structure_at_rest_stays() -> None:
    """Restraints keep it near the crystal structure, and all hydrogens are added."""
    found = relax(fragment(), cuda=False)
    assert found.moved < 0.25 and found.rounds == 1
    names = [name for place, name, _ in found.structure.hydrogens if place == 0]
    assert fragment().sequence.startswith("E") and names == ["H", "H2", "H3", "HA", "HB2", "HB3", "HG2", "HG3"]
    bonds = [
        min(np.linalg.norm(np.array(xyz) - found.structure.positions[place][found.structure.mask[place]], axis=-1))
        for place, _, xyz in found.structure.hydrogens
    ]
    assert min(bonds) > 0.9 and max(bonds) < 1.4


def test_missing_side_chains_are_built() -> None:
    bare = fragment()
    bare.mask[:, 5:] = False
    found = relax(replace(bare, positions=bare.positions * bare.mask[..., None]), cuda=False)
    assert (found.structure.mask == whole(bare)).all()
    assert found.energy[1] < 0 and found.violations[1] <= 2 and found.moved < 0.8


def test_the_ends_of_a_ring_stay_joined() -> None:
    sequence = "AGAAGASA"
    mask = ATOM37_MASK[[INDEX[letter] for letter in sequence]] > 0
    mask[:, 5:] = False
    closed = close_peptides(ring(len(sequence)), cyclic=True).numpy()
    numbers = np.arange(1, len(sequence) + 1)
    found = relax(Structure(sequence, closed, mask, numbers, np.ones(8, np.float32), cyclic=True), cuda=False).structure
    assert not found.mask[:, OXT].any()
    assert np.linalg.norm(found.positions[-1, C] - found.positions[0, N]) == pytest.approx(1.33, abs=0.06)
    assert [name for place, name, _ in found.hydrogens if place == 0 and name in ("H", "H1", "H2", "H3")] == ["H"]


def test_open_ends_of_a_ring_are_a_violation() -> None:
    chain = fragment()
    ends = {0, len(chain.sequence) - 1}
    assert set(violating(replace(chain, cyclic=True))) - set(violating(chain)) == ends


def test_an_unknown_residue_is_named() -> None:
    unknown = fragment()
    unknown.mask[4] = False
    with pytest.raises(FoldcliError, match="residue 5 has no atoms"):
        relax(replace(unknown, sequence="EDYPX" + unknown.sequence[5:]), cuda=False)


def predicted(structure: Structure, seed: int) -> Prediction:
    return Prediction(structure, structure.b_factor, "model_1", seed, 3)


def test_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    broken = fragment()
    broken.mask[4] = False
    ranked = [(predicted(broken, 0), provenance("q")), (predicted(fragment(0.1), 1), provenance("q"))]
    timers = Timers()
    first, second = relax_ranked(tmp_path, ranked, "all", False, timers)
    assert first == "rank 1 not relaxed: FoldcliError: residue 5 has no atoms; a relaxation needs all of them"
    assert second.startswith("rank 2 relaxed: energy ") and " on CPU with OpenMM " in second
    label = "rank_002_model_1_seed_001"
    names = {f"q_relaxed_{label}.pdb", f"q_relaxed_{label}.cif", f"q_relaxation_{label}.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert list(timers.seconds) == ["model_1_seed_001_relax"]
    figures = json.loads((tmp_path / f"q_relaxation_{label}.json").read_text())
    assert figures["energy_after"] < 0 and figures["violating_residues_after"] == 0


def test_none_and_best_relax_so_many(tmp_path: Path) -> None:
    ranked = [(predicted(fragment(), seed), provenance("q")) for seed in range(2)]
    assert list(relax_ranked(tmp_path, ranked, "none", False, Timers())) == []
    assert len(list(relax_ranked(tmp_path, ranked, "best", False, Timers()))) == 1


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_files_have_hydrogens_and_plddt(tmp_path: Path, suffix: str) -> None:
    list(relax_ranked(tmp_path, [(predicted(fragment(), 0), provenance("q"))], "best", False, Timers()))
    path = tmp_path / f"q_relaxed_rank_001_model_1_seed_000.{suffix}"
    (chain,) = gemmi.read_structure(str(path))[0]
    assert sum(atom.is_hydrogen() for residue in chain for atom in residue) > 150
    for residue, plddt in zip(chain, fragment().b_factor, strict=True):
        assert {round(atom.b_iso, 1) for atom in residue} == {round(float(plddt), 1)}
    assert "AMBER ff14SB" in path.read_text()


def test_chains_are_relaxed_together_and_no_peptide_joins_them() -> None:
    """Each chain gets ends of its own, and the gap between the chains, which is no bond, is not closed."""
    two = dimer()
    apart = np.linalg.norm(two.positions[18, C] - two.positions[19, N])
    assert apart > 10
    found = relax(two, cuda=False)
    assert found.energy[1] < 0 and found.violations[1] == 0 and found.moved < 0.3
    after = found.structure
    assert np.flatnonzero(after.mask[:, OXT]).tolist() == [18, 38]
    ends = [name for place, name, _ in after.hydrogens if place in (0, 19) and name in ("H", "H1", "H2", "H3")]
    assert ends == ["H", "H2", "H3"] * 2
    assert np.linalg.norm(after.positions[18, C] - after.positions[19, N]) == pytest.approx(apart, abs=1)
    assert [one.name for one in after.chains] == ["A", "B"]


def test_violations_between_chains_are_counted() -> None:
    two = dimer()
    assert violating(two) == []
    positions = two.positions.copy()
    positions[24, CA] = positions[5, CA] + 0.5  # residue 6 of the second chain upon that of the first
    clashing = violating(replace(two, positions=positions))
    assert {5, 24} <= set(clashing)


def test_a_residue_of_a_chain_without_atoms_is_named() -> None:
    two = dimer()
    two.mask[21] = False
    with pytest.raises(FoldcliError, match="residue 3 of chain B has no atoms"):
        relax(two, cuda=False)
