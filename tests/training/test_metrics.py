"""Validation scores of structures so small that they are known by hand."""

import math

import pytest
import torch

from foldcli.protein.residues import CA, C, N
from foldcli.training.metrics import agreement, backbone_quality, drmsd


def test_drmsd_is_of_distances() -> None:
    true = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
    predicted = torch.tensor([[9.0, 9, 9], [9, 12, 9], [9, 9, 15]])  # distances 3, 6, sqrt 45 for 3, 4, 5
    assert drmsd(predicted, true) == pytest.approx(math.sqrt((4 + (math.sqrt(45) - 5) ** 2) / 3))


def test_agreement_is_of_known_residues_and_sees_no_motion() -> None:
    true = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).cumsum(0) * 3
    turned = true[:, [1, 2, 0]] + 7
    mask = torch.ones(30)
    mask[4], turned[4] = 0, 1e3
    found = agreement(turned, true, mask)
    assert (found.lddt, found.tm_score, found.gdt_ts) == pytest.approx((1, 1, 1))
    assert found.drmsd == pytest.approx(0, abs=1e-4)
    assert math.isnan(agreement(turned, true, torch.zeros(30)).lddt)
    assert math.isnan(agreement(turned / 0, true, mask).tm_score)  # as after a step at far too high a rate


def zigzag(turn: float) -> torch.Tensor:
    """Three planar residues, N-CA 1.46, CA-C 1.52, C-N 1.33; the last is turned about its peptide bond, in degrees."""
    positions, place, angle = torch.zeros(3, 37, 3), torch.zeros(3), 35.0
    for k in range(9):
        positions[k // 3, (N, CA, C)[k % 3]] = place
        step = torch.tensor([math.cos(math.radians(angle)), math.sin(math.radians(angle)), 0])
        place, angle = place + (1.46, 1.52, 1.33)[k % 3] * step, -angle
    axis, corner = positions[2, N] - positions[1, C], positions[2, N].clone()
    axis, offset, a = axis / axis.norm(), positions[2, [N, CA, C]] - corner, math.radians(turn)
    along = (offset @ axis)[:, None] * axis
    positions[2, [N, CA, C]] = (
        corner + along + math.cos(a) * (offset - along) + math.sin(a) * torch.linalg.cross(axis.expand(3, 3), offset)
    )
    return positions


@pytest.mark.parametrize(("turn", "twist"), [(0.0, 0.0), (40.0, 20.0), (180.0, 0.0), (150.0, 15.0)])
def test_backbone_quality_of_a_zigzag(turn: float, twist: float) -> None:
    """The first peptide is planar, the second turned: twist is half of it, and a cis peptide counts as planar."""
    found = backbone_quality(zigzag(turn), torch.tensor([1, 2, 3]))
    assert (found.n_ca, found.ca_c, found.c_n) == pytest.approx((1.46, 1.52, 1.33), abs=1e-5)
    assert found.twist == pytest.approx(twist, abs=0.1)
    assert found.clashes == 0


def test_gaps_are_no_bonds_and_only_distant_residues_clash() -> None:
    positions = zigzag(0)
    positions[2, [N, CA, C]] += positions[0, CA] + 1 - positions[2, CA]
    found = backbone_quality(positions, torch.tensor([1, 2, 5]))
    assert found.c_n == pytest.approx(1.33, abs=1e-5)
    assert found.clashes == pytest.approx(2 / 3)
    positions[1, [N, CA, C]] += positions[0, CA] + 1 - positions[1, CA]
    positions[2] += 20
    assert backbone_quality(positions, torch.tensor([1, 2, 5])).clashes == 0
