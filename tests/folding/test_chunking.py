"""What grows with the square of the length outside the Evoformer runs in slices, by a plan."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import Chunked
from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.planner import Planner
from foldcli.compose import fold_config
from foldcli.data.features.featurize import featurize
from foldcli.data.query import Query
from foldcli.folding.chunking import blank_inputs
from foldcli.folding.models import meta_model
from foldcli.folding.norm_in_layers import norm_in_layers
from foldcli.model.alphafold import FoldingModel
from foldcli.model.structure import StructureLayer

LENGTH, HALF = 600, torch.bfloat16


class Part(nn.Module):
    """A part of a model, to be planned alone."""

    def __init__(self, model: FoldingModel, part: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.part = model, part

    def forward(self, *inputs: Any) -> Any:
        return self.part(self.model, *inputs)


def structure(model: FoldingModel, s: torch.Tensor, z: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return model.structure(s, z, mask)[0]


def chain_templates(model: FoldingModel, features: Any) -> torch.Tensor:
    return model.trunk.template_pairs.embed_pairs(features.templates, HALF)


def complex_templates(model: FoldingModel, features: Any) -> torch.Tensor:
    own = model.trunk.template_pairs
    return own.embed_geometry(features.templates, own.same_chain(features))


def recycled(model: FoldingModel, *inputs: Any) -> torch.Tensor:
    return model.trunk._embed(*inputs)[1]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("preset", "part", "beside"),
    [("model_1_ptm", structure, 0.6), ("model_1_ptm", chain_templates, 0.05), ("model_1_ptm", recycled, 0.05),
     ("model_1_multimer_v3", complex_templates, 0.1)],
)  # fmt: skip
def test_a_part_takes_what_it_returns_and_little_beside(preset: str, part: Callable[..., Any], beside: float) -> None:
    """beside: in pair tensors, at the tightest plan; float32 copies or one-hot vectors of all pairs take 2 or more."""
    config = fold_config(preset).model
    features, previous = blank_inputs(config, LENGTH, 1, torch.device("cpu"), HALF, templates=4)
    with FakeTensorMode():
        s, z = torch.empty(LENGTH, config.c_s), torch.empty(LENGTH, LENGTH, config.c_z, dtype=HALF)
    inputs = {structure: (s, z, features.seq_mask), recycled: (features, previous)}.get(part, (features,))
    rates = DeviceRates(1e12, 1e11, 1e10, 0.0, 1e-5)
    model = Part(norm_in_layers(meta_model(config, HALF)), part)
    planner = Chunked(model, Planner.tightest, rates, repeated=(StructureLayer,)).planner(*inputs)
    result = planner.shaped.values[planner.shaped.graph.outputs[0]].nbytes
    assert planner.least() <= result + beside * z.nbytes < planner.whole().peak


def test_pairs_normalised_in_each_layer_are_the_same_pairs() -> None:
    config = fold_config("tiny", ["model.structure.layers=2", "model.evoformer.blocks=1"]).model
    model = FoldingModel(config).eval().requires_grad_(False)
    model.trunk.to(HALF)
    (features,) = featurize(Query("a", "a", "MKVLAAGIV", "here"), config.msa, 0, 1)
    changed = norm_in_layers(model)
    assert torch.equal(changed(features).positions, model(features).positions)
    assert set(map(id, changed.parameters())) == set(map(id, model.parameters()))
