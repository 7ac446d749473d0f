"""Superposition recovers a known motion; TM-score and GDT-TS agree with hand counts and with tmtools."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tmtools import tm_align

from foldcli.geometry.rigid import Rigid, quaternion_to_rotation
from foldcli.geometry.superposition import superpose, tm_score_and_gdt


def chain(seed: int, length: int) -> torch.Tensor:
    """A random CA trace with steps of 3.8 angstrom and a persistent direction."""
    random = torch.Generator().manual_seed(seed)
    steps = torch.randn(length, 3, generator=random, dtype=torch.float64)
    steps = steps + 0.8 * steps.roll(1, 0) + 0.6 * steps.roll(2, 0)
    return (3.8 * steps / steps.norm(dim=-1, keepdim=True)).cumsum(0)


def motion(seed: int) -> Rigid:
    q, offset = torch.randn(2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Rigid(quaternion_to_rotation(q / q.norm()), 20 * offset[:3])


@given(seed=st.integers(0, 10**6), length=st.integers(3, 20))
def test_superposition_finds_a_motion_again_by_the_atoms_with_weight(seed: int, length: int) -> None:
    points = chain(seed, length)
    moved = motion(seed).apply(points)
    moved[0] += 100
    weight = torch.ones(length, dtype=torch.float64)
    weight[0] = 0
    found = superpose(points, moved, weight)
    assert torch.allclose(found.apply(points)[1:], moved[1:], atol=1e-6)
    assert torch.linalg.det(found.rotation) > 0


def test_a_mirror_image_is_another_structure() -> None:
    points = chain(3, 30)
    mirrored = points * torch.tensor([1.0, 1, -1])
    tm_score, gdt_ts = tm_score_and_gdt(mirrored, points)
    assert tm_score < 0.5
    assert gdt_ts < 0.9


def test_one_residue_astray_costs_its_share() -> None:
    points = chain(5, 40)
    predicted = motion(6).apply(points)
    predicted[20] += 60
    tm_score, gdt_ts = tm_score_and_gdt(predicted, points)
    assert gdt_ts == pytest.approx(39 / 40)
    assert tm_score == pytest.approx(39 / 40, abs=2e-3)


@pytest.mark.parametrize("length", [12, 60, 150])
def test_tm_score_is_that_of_tm_align(length: int) -> None:
    """For a given alignment of residues: of a hinge motion, and of noise that grows along the chain."""
    true, random = chain(length, length), torch.Generator().manual_seed(length)
    predicted, hinge = true.clone(), length // 3
    predicted[hinge:] = (true[hinge:] - true[hinge]) @ motion(1).rotation + true[hinge]
    predicted += torch.randn(length, 3, generator=random, dtype=torch.float64) * torch.linspace(0, 2, length)[:, None]
    letters = "A" * length
    expected = tm_align(predicted.numpy(), true.numpy(), letters, letters, [letters, letters]).tm_norm_chain2
    assert tm_score_and_gdt(predicted, true)[0] == pytest.approx(expected, abs=5e-3)
