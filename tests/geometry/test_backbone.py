"""`close_peptides` moves whole residues, and leaves a good backbone as it is."""

import subprocess
import sys

import pytest
import torch

from foldcli.geometry import backbone
from foldcli.geometry.backbone import close_peptides
from foldcli.protein.residues import CA, CB, C, N, O
from foldcli.training.metrics import backbone_quality
from tests.folding.test_relax import fragment, ring


def crystal() -> torch.Tensor:
    return torch.from_numpy(fragment().positions)


def test_a_crystal_structure_hardly_moves() -> None:
    found = close_peptides(crystal())
    moved = (found - crystal())[:, [N, CA, C, O]].norm(dim=-1)
    assert moved.mean() < 0.1 and moved[:, :3].max() < 0.25
    assert torch.equal(found[:, O + 1 :], crystal()[:, O + 1 :])


def test_residues_out_of_place_are_joined() -> None:
    torch.manual_seed(0)
    apart = crystal() + 0.5 * torch.randn(len(crystal()), 1, 3)
    found = close_peptides(apart)
    quality = backbone_quality(found, torch.arange(len(found)))
    assert abs(quality.c_n - 1.33) < 0.02 and quality.twist < 5 and quality.clashes == 0
    assert (found[:, O] - found[:, C]).norm(dim=-1).sub(1.23).abs().max() < 0.02
    rigid, before = (x[:, [N, CA, C, CB]] for x in (found, apart))
    torch.testing.assert_close(torch.cdist(rigid, rigid), torch.cdist(before, before), atol=1e-3, rtol=0)
    assert (found - apart)[:, CA].norm(dim=-1).mean() < 1.0


def test_the_work_grows_with_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few iterations, and near pairs alone, also of a chain whose parts lie in each other."""
    strain, pairs = backbone._strain, []
    monkeypatch.setattr(backbone, "_strain", lambda *given: (pairs.append(len(given[1][0])), strain(*given))[1])
    found = close_peptides(torch.cat([crystal(), crystal() + 0.5, crystal() + 1.0]))
    assert len(pairs) < 130
    assert max(pairs) < 10 * len(found)


def test_the_ends_of_a_ring_are_joined() -> None:
    for length, tolerance in ((3, 0.1), (8, 0.02)):
        found = close_peptides(ring(length), cyclic=True)
        bonds = (found[:, C] - found.roll(-1, 0)[:, N]).norm(dim=-1)
        assert bonds.sub(1.33).abs().max() < tolerance
        assert (found[:, O] - found[:, C]).norm(dim=-1).sub(1.23).abs().max() < 0.02


def test_chains_too_short_for_a_peptide() -> None:
    for length in (1, 2):
        assert close_peptides(crystal()[:length]).isfinite().all()


def test_torchs_compiler_is_not_imported() -> None:
    """That import took 0.9 s of every fold."""
    closed = "from foldcli.geometry.backbone import close_peptides; close_peptides(torch.randn(5, 37, 3))"
    asked = f"import sys, torch; {closed}; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True)
