"""A model whose structure layers each normalise the pairs themselves, for AutoChunk, which then does it slice by slice.

The model normalises them once, in float32: twice the pair representation in half precision, alive through all layers,
with the bias that attention takes from them.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from foldcli.model.alphafold import FoldingModel
from foldcli.model.structure import Backbone, PairNorm, StructureLayer, StructureModule
from foldcli.shapes import Float, Pair, Single, Tensor


class NormalisingLayer(StructureLayer):
    """A layer that gets the pairs as the trunk leaves them."""

    norm_z: PairNorm

    def forward(  # type: ignore[override]
        self, z: Pair, mask: Float[Tensor, "*b j"], s: Single, before: Backbone
    ) -> tuple[Single, Backbone]:
        return super().forward(self.attention.shared(self.norm_z(z), mask), s, before)


class NormalisingModule(StructureModule):
    """A structure module with such layers."""

    def over(self, z: Pair, mask: Float[Tensor, "*b j"]) -> Callable[[Single, Backbone], tuple[Single, Backbone]]:
        return partial(self.layer, z, mask)


def norm_in_layers(model: FoldingModel) -> FoldingModel:
    """The model with such layers; it shares all other modules with the plain one."""
    changed, structure, layer = map(_copied, (model, model.structure, model.structure.layer))
    layer.__class__, structure.__class__ = NormalisingLayer, NormalisingModule
    layer.norm_z = structure.norm_z
    structure.layer, changed.structure = layer, structure
    return changed


def _copied(module: Any) -> Any:
    """A copy whose submodules are the module's own, and can be replaced."""
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied
