"""Frames, torsions and atoms are consistent with each other; tests/model compares their values with DeepMind's."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from foldcli.geometry.atoms import bin_table, distance_bin, frames_to_atoms, torsions_to_frames
from foldcli.geometry.rigid import Rigid, quaternion_to_rotation, rigid_from_3_points, update_quaternion
from foldcli.geometry.torsions import torsion_angles
from foldcli.protein import residues


def random_chain(seed: int, length: int) -> tuple[torch.Tensor, Rigid, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    aatype = torch.randint(0, 20, (length,), generator=random)
    quaternion = torch.randn(length, 4, generator=random, dtype=torch.float64)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    offset = 10 * torch.randn(length, 3, generator=random, dtype=torch.float64)
    angle = 6 * torch.rand(length, 7, generator=random, dtype=torch.float64)
    return aatype, Rigid(quaternion_to_rotation(quaternion), offset), torch.stack([angle.sin(), angle.cos()], dim=-1)


@given(seed=st.integers(0, 10**6), length=st.integers(1, 30))
def test_atoms_placed_by_torsions_show_the_same_torsions(seed: int, length: int) -> None:
    aatype, backbone, torsions = random_chain(seed, length)
    atoms = frames_to_atoms(aatype, torsions_to_frames(aatype, backbone, torsions))
    mask = torch.from_numpy(residues.ATOM37_MASK)[aatype].double()
    found, _, defined = torsion_angles(aatype, atoms, mask)
    # psi and chi depend on one residue; omega and phi also on its neighbour, whose place is arbitrary here
    assert defined[:, 3:].equal(torch.from_numpy(residues.CHI_MASK)[aatype].double())
    # the ideal tables have three decimals, so their atoms lie that much off their planes
    assert torch.allclose(found[:, 2], torsions[:, 2], atol=2e-2)
    chi = defined[:, 3:, None].bool()
    assert torch.allclose(torch.where(chi, found[:, 3:], 0), torch.where(chi, torsions[:, 3:], 0), atol=2e-2)


@given(seed=st.integers(0, 10**6))
def test_backbone_frame_is_found_again_from_its_atoms(seed: int) -> None:
    aatype, backbone, torsions = random_chain(seed, 5)
    atoms = frames_to_atoms(aatype, torsions_to_frames(aatype, backbone, torsions))
    n, ca, c = (atoms[:, k] for k in (residues.N, residues.CA, residues.C))
    found = rigid_from_3_points(ca - (c - ca), ca, n)
    assert torch.allclose(found.translation, backbone.translation, atol=1e-6)
    assert torch.allclose(found.rotation, backbone.rotation, atol=1e-5)


@given(seed=st.integers(0, 10**6))
def test_rigid_undoes_itself_and_composes(seed: int) -> None:
    _, frame, _ = random_chain(seed, 4)
    _, other, _ = random_chain(seed + 1, 4)
    points = torch.randn(4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(frame.invert_apply(frame.apply(points)), points)
    assert torch.allclose(frame.compose(other).apply(points), frame.apply(other.apply(points)))


def test_a_small_quaternion_step_turns_about_its_axis() -> None:
    step = torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64)
    turned = quaternion_to_rotation(update_quaternion(torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64), step))
    angle = 2 * torch.atan(torch.tensor(0.1, dtype=torch.float64))
    assert torch.allclose(
        turned[0, 1:, 1:], torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    )


def test_the_last_distance_bin_alone_is_open() -> None:
    points = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [4.0, 0, 0], [400.0, 0, 0]])
    assert distance_bin(points, points, 3.25, 20.75, 15)[0].tolist() == [0, 0, 1, 15]


def test_a_look_up_is_the_linear_layer_on_one_hot_bins() -> None:
    weight = torch.randn(4, 15)
    expected = torch.cat([torch.zeros(1, 4), torch.eye(15) @ weight.T])  # bin 0 has no channel
    torch.testing.assert_close(F.embedding(torch.arange(16), bin_table(weight)), expected)
