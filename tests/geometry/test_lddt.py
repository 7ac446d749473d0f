"""lDDT of a few points, counted by hand."""

import torch

from foldcli.geometry.lddt import DistanceErrors, lddt, lddt_per_residue


def test_lddt_counts_kept_distances() -> None:
    true = torch.tensor([[0.0, 0, 0], [4, 0, 0], [8, 0, 0], [40, 0, 0], [2, 0, 0]])
    predicted = torch.tensor([[0.0, 0, 0], [4, 0, 0], [9.5, 0, 0], [0, 0, 0], [99, 0, 0]])
    mask = torch.tensor([1.0, 1, 1, 1, 0])
    # 0-1 is kept within all four tolerances; 0-2 and 1-2 are 1.5 off, so within two; the fourth has no neighbour
    assert torch.allclose(lddt_per_residue(predicted, true, mask)[:4], torch.tensor([0.75, 0.75, 0.5, 1.0]))
    assert torch.allclose(lddt(predicted, true, mask), torch.tensor((1 + 0.5 + 0.5) / 3))


def test_smooth_lddt_is_alphafold_3s_and_pulls_distances_right() -> None:
    true = torch.tensor([[0.0, 0, 0], [4, 0, 0], [8, 0, 0], [40, 0, 0], [2, 0, 0]])
    predicted = torch.tensor([[0.0, 0, 0], [4, 0, 0], [9.5, 0, 0], [0, 0, 0], [99, 0, 0]], requires_grad=True)
    mask = torch.tensor([1.0, 1, 1, 1, 0])
    value = DistanceErrors.between(predicted, true, mask).smooth_lddt()
    right, off = (torch.tensor([0.5 - error, 1 - error, 2 - error, 4 - error]).sigmoid().mean() for error in (0, 1.5))
    assert torch.allclose(value, (right + 2 * off) / 3)
    (slope,) = torch.autograd.grad(value, predicted)
    assert slope[2, 0] < 0  # the third is 1.5 too far out
    assert slope[3:].count_nonzero() == 0  # without neighbours, and unknown
