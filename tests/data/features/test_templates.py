"""Template features and torsions equal DeepMind's (tests/golden/make_torsions.py); frames start where a template is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.data.chain import Template
from foldcli.data.features.templates import (
    chain_template_features,
    stack_chain_templates,
    start_frames,
    template_features,
)
from foldcli.geometry.rigid import quaternion_to_rotation
from foldcli.geometry.torsions import torsion_angles
from foldcli.protein.residues import CA, GAP, C, N

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


def test_templates_of_chains_lie_side_by_side_as_deepminds():
    """Two templates of each chain, in four slots; tests/golden/complex_templates has their merged arrays."""
    with np.load(GOLDEN.parent / "complex_templates" / "raw.npz") as raw:
        arrays = [raw[f"template_{key}"] for key in ("aatype", "all_atom_positions", "all_atom_mask")]
        lengths = np.unique(raw["asym_id"], return_counts=True)[1].tolist()
    chains = [slice(end - own, end) for own, end in zip(lengths, np.cumsum(lengths), strict=True)]
    found = [[Template("", *(x[k, chain] for x in arrays)) for k in range(2)] for chain in chains]
    expected = chain_template_features(*map(torch.from_numpy, arrays))
    laid_out = stack_chain_templates(found, lengths, 4)
    for name in ("aatype", "backbone", "pseudo_beta", "torsions", "torsions_mask", "backbone_mask"):
        assert torch.equal(getattr(laid_out, name), getattr(expected, name)), name
    only_last = stack_chain_templates([[], [], found[2]], lengths, 4)
    assert only_last.aatype[0, 14:].tolist() == found[2][0].aatype.tolist()
    assert not only_last.aatype[0, :14].any() and not only_last.backbone_mask[0, :14].any()
    assert stack_chain_templates([[], [], []], lengths, 4) is None


def test_defined_torsions_do_not_depend_on_where_the_chain_stands(golden):
    aatype, mask = golden["aatype"], golden["mask"].float()
    moved = (golden["positions"] + torch.tensor([40.0, -70.0, 25.0])) * mask[..., None]
    torsions, _, defined = torsion_angles(aatype, moved, mask)
    torch.testing.assert_close(torsions[defined == 1], golden["torsions"][defined == 1], atol=1e-4, rtol=0)


def test_frames_start_at_the_templates_backbone_and_on_lines_across_its_gaps(golden):
    aatype, atoms = golden["aatype"][0], golden["positions"][0]
    known = golden["mask"][0][:, [N, CA, C]].all(-1)
    gap = torch.arange(len(aatype)) == 3
    assert known[2:5].all() and known.sum() > 10
    mask = golden["mask"][0].bool() & ~gap[:, None]
    template = Template("x", torch.where(gap, GAP, aatype).numpy().astype(np.int8), atoms.numpy(), mask.numpy())
    start = start_frames([template], slice(0, len(aatype)))
    there = known & ~gap
    shift = start[there, 4:] - atoms[there, CA]
    assert (shift - shift[0]).abs().max() < 1e-4, "moved as a whole"
    bonds = quaternion_to_rotation(start[there, :4])[..., 0], atoms[there, C] - atoms[there, CA]
    assert torch.cosine_similarity(*bonds, dim=-1).min() > 0.9999, "the x axis points to C"
    torch.testing.assert_close(start[3, 4:], start[[2, 4], 4:].mean(0))
    assert start[:, 4:].mean(0).abs().max() < 1e-4
    torch.testing.assert_close(start_frames([template], slice(2, 9))[:, :4], start[2:9, :4])
    assert start_frames([], slice(0, 3)).tolist() == 3 * [7 * [0]]
