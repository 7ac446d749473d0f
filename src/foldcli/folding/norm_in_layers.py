"""A model whose structure layers each normalise the pairs themselves, for AutoChunk, which then does it slice by slice.

The model normalises them once, in float32: twice the pair representation in half precision, alive through all layers.
"""

import copy
from typing import Any

from torch import nn

from foldcli.model.alphafold import FoldingModel
from foldcli.model.structure import Backbone, PairNorm, StructureLayer
from foldcli.shapes import Float, Pair, Single, Tensor


class NormalisingLayer(StructureLayer):
    """A layer that gets the pairs as the trunk leaves them."""

    norm_z: PairNorm

    def forward(self, s: Single, z: Pair, mask: Float[Tensor, "*b j"], before: Backbone) -> tuple[Single, Backbone]:
        return super().forward(s, self.norm_z(z), mask, before)


def norm_in_layers(model: FoldingModel) -> FoldingModel:
    """The model with such layers; it shares all other modules with the plain one."""
    changed, structure, layer = map(_copied, (model, model.structure, model.structure.layer))
    layer.__class__ = NormalisingLayer
    layer.norm_z, structure.norm_z = structure.norm_z, nn.Identity()
    structure.layer, changed.structure = layer, structure
    return changed


def _copied(module: Any) -> Any:
    """A copy whose submodules are the module's own, and can be replaced."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied
