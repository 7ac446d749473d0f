"""lDDT of a handful of points, counted by hand."""

import torch

from foldcli.geometry.lddt import lddt, lddt_per_residue


def test_lddt_counts_kept_distances() -> None:
    true = torch.tensor([[0.0, 0, 0], [4, 0, 0], [8, 0, 0], [40, 0, 0], [2, 0, 0]])
    predicted = torch.tensor([[0.0, 0, 0], [4, 0, 0], [9.5, 0, 0], [0, 0, 0], [99, 0, 0]])
    mask = torch.tensor([1.0, 1, 1, 1, 0])
    # 0-1 is kept within all four tolerances, 0-2 and 1-2 are 1.5 off and so within two; the fourth is alone
    assert torch.allclose(lddt_per_residue(predicted, true, mask)[:4], torch.tensor([0.75, 0.75, 0.5, 1.0]))
    assert torch.allclose(lddt(predicted, true, mask), torch.tensor((1 + 0.5 + 0.5) / 3))
