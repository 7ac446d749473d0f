"""Relative positions around a ring: the shortest way, in both directions."""

import pytest
import torch

from foldcli.data.features.ring import ring_offsets


def test_the_smallest_ring() -> None:
    assert ring_offsets(torch.arange(5))[0].tolist() == [0, -1, -2, 2, 1]


@pytest.mark.parametrize("length", [3, 6, 7])
def test_every_residue_sees_the_same_ring(length: int) -> None:
    offsets = ring_offsets(torch.arange(10, 10 + length))
    around = (offsets - (torch.arange(length)[:, None] - torch.arange(length))) % length
    assert not around.any() and offsets.abs().max() == length // 2
    assert torch.equal(offsets, -offsets.T)
    assert torch.equal(offsets.abs().roll((1, 1), (0, 1)), offsets.abs())
