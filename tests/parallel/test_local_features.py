"""Every feature of the residues is padded to a multiple of the ranks."""

import pytest
import torch

from foldcli.autochunk.graph import tensors
from foldcli.compose import model_config
from foldcli.folding.chunking import blank_inputs
from foldcli.parallel.local_features import local_features
from foldcli.parallel.mesh import RankGroup

LENGTH, PADDED = 101, 102


@pytest.mark.parametrize("preset", ["mini", "model_1_multimer_v3"])
def test_no_feature_is_left_at_the_length_of_the_chain(preset: str) -> None:
    sizes = LENGTH, 8, torch.device("cpu"), torch.float32, 4
    features, _ = blank_inputs(model_config(preset, []), *sizes)
    assert sum(LENGTH in x.shape for x in tensors(features)) > 15
    shapes = [x.shape for x in tensors(local_features(features, RankGroup(size=3)))]
    assert all(LENGTH not in shape for shape in shapes)
    assert sum(PADDED in shape for shape in shapes) > 15
