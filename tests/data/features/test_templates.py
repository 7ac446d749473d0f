"""Template features and torsions equal DeepMind's (tests/golden/make_torsions.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.data.features.templates import template_features
from foldcli.geometry.torsions import torsion_angles
from foldcli.protein.residues import CA, C, N

GOLDEN = Path(__file__).parents[2] / "golden" / "torsions.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN) as saved:
        return {key: torch.from_numpy(saved[key]) for key in saved.files}


def test_torsions_and_pseudo_beta_are_deepminds(golden):
    mask = golden["mask"].float()
    features = template_features(golden["aatype"], golden["positions"], mask)

    # Collinear atoms, such as two missing ones, have no torsion: ours is (0, 0), DeepMind's amplified rounding errors.
    line = (features.torsions == 0).all(-1)
    assert not golden["torsions_mask"][line].any()
    for name in ("torsions", "torsions_alt"):
        torch.testing.assert_close(getattr(features, name)[~line], golden[name][~line], atol=1e-5, rtol=0, msg=name)
    assert torch.equal(features.pseudo_beta, golden["pseudo_beta"])
    for name in ("torsions_mask", "pseudo_beta_mask"):
        assert torch.equal(getattr(features, name), golden[name].float()), name
    assert torch.equal(features.backbone_mask, mask[..., N] * mask[..., CA] * mask[..., C])


def test_defined_torsions_do_not_depend_on_where_the_chain_stands(golden):
    aatype, mask = golden["aatype"], golden["mask"].float()
    moved = (golden["positions"] + torch.tensor([40.0, -70.0, 25.0])) * mask[..., None]
    torsions, _, defined = torsion_angles(aatype, moved, mask)
    torch.testing.assert_close(torsions[defined == 1], golden["torsions"][defined == 1], atol=1e-4, rtol=0)
