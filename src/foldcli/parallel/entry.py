"""What a rank takes of a pass's features: all residues, filled up so that they divide, and its own sequences."""

from dataclasses import fields, replace
from typing import Any, TypeVar

from foldcli.model.features import Features, Recycled, TemplateFeatures
from foldcli.parallel.layouts import own, padded
from foldcli.parallel.mesh import Axis
from foldcli.shapes import Tensor

T = TypeVar("T", Features, TemplateFeatures)

# The axis of residues; that of sequences or templates stands before it.
RESIDUES = {
    "aatype": -1, "residue_index": -1, "seq_mask": -1, "target_feat": -2, "msa_feat": -2, "msa_mask": -1,
    "extra_msa": -1, "extra_mask": -1, "extra_has_deletion": -1, "extra_deletion": -1,
    "pseudo_beta": -2, "pseudo_beta_mask": -1, "backbone_mask": -1, "torsions": -3, "torsions_alt": -3,
    "torsions_mask": -2,
}  # fmt: skip
SEQUENCES = ("msa_feat", "msa_mask", "extra_msa", "extra_mask", "extra_has_deletion", "extra_deletion")


def own_features(features: Features, ranks: Axis) -> Features:
    """The features that a rank computes from; what is filled up is masked."""
    features = _padded_residues(features, ranks)
    if features.templates is not None:
        features = replace(features, templates=_padded_residues(features.templates, ranks))
    sequences: Any = {name: _own(getattr(features, name), RESIDUES[name] - 1, ranks) for name in SEQUENCES}
    return replace(features, **sequences)


def own_templates(templates: TemplateFeatures, ranks: Axis) -> TemplateFeatures:
    """The templates that a rank adds to its sequences; what is filled up is masked."""
    axes = {f.name: RESIDUES.get(f.name, 0) - 1 for f in fields(templates)}
    return replace(templates, **{name: _own(getattr(templates, name), axis, ranks) for name, axis in axes.items()})


def padded_recycled(previous: Recycled, ranks: Axis) -> Recycled:
    """What a split pass handed on: the pairs are this rank's rows already, filled up as they were."""
    row, positions = padded(previous.msa_first_row, -2, ranks.size), padded(previous.positions, -3, ranks.size)
    return Recycled(row, previous.pair, positions)


def _padded_residues(features: T, ranks: Axis) -> T:
    named: Any = {f.name: getattr(features, f.name) for f in fields(features) if f.name in RESIDUES}
    for name, x in named.items():
        named[name] = padded(x, RESIDUES[name], ranks.size)
    return replace(features, **named)


def _own(x: Tensor, axis: int, ranks: Axis) -> Tensor:
    return own(padded(x, axis, ranks.size), axis, ranks)
