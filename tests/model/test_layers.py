"""Shared layers."""

import pytest
import torch

from foldcli.model.layers import DropoutAdd


def test_dropout_leaves_out_whole_lines_and_only_in_training() -> None:
    x, update = torch.randn(2, 5, 6, 8), torch.ones(2, 5, 6, 8)
    layer = DropoutAdd(0.25, shared=-3)
    torch.manual_seed(0)
    added = (layer(x, update) - x).round(decimals=3)
    assert added.unique().tolist() == pytest.approx([0, 4 / 3], abs=1e-3)
    assert bool((added == added[:, :1]).all()) and not bool((added == added[:, :, :1]).all())
    assert torch.equal(layer.eval()(x, update), x + update)
