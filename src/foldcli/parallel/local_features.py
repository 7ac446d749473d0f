"""A rank's part of the input features: all residues, padded to a multiple of the ranks, and its share of sequences."""

from dataclasses import fields, replace
from typing import Any, TypeVar

from foldcli.model.features import ChainFeatures, Features, Recycled, TemplateFeatures
from foldcli.parallel.layouts import local_shard, padded
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Tensor

T = TypeVar("T", Features, TemplateFeatures, ChainFeatures)

# The axis of residues, counted from the end; that of sequences or templates is the one before.
RESIDUE_AXIS = {
    "aatype": -1, "residue_index": -1, "seq_mask": -1, "target_feat": -2, "msa_feat": -2, "msa_mask": -1,
    "extra_msa": -1, "extra_mask": -1, "extra_has_deletion": -1, "extra_deletion": -1,
    "pseudo_beta": -2, "pseudo_beta_mask": -1, "backbone_mask": -1, "torsions": -3, "torsions_alt": -3,
    "torsions_mask": -2, "backbone": -3, "ring_offsets": -1, "asym": -1, "entity": -1, "sym": -1, "start": -2,
}  # fmt: skip
# The features that have sequences.
MSA_FEATURES = ("msa_feat", "msa_mask", "extra_msa", "extra_mask", "extra_has_deletion", "extra_deletion")


def local_features(features: Features, group: RankGroup) -> Features:
    """The features that a rank computes from; padding is masked."""
    features = _pad_residues(features, group)
    if features.ring_offsets is not None:  # its other axis of residues
        features = replace(features, ring_offsets=padded(features.ring_offsets, -2, group.size))
    if features.templates is not None:
        features = replace(features, templates=_pad_residues(features.templates, group))
    if features.chains is not None:
        features = replace(features, chains=_pad_residues(features.chains, group))
    sequences: Any = {
        name: _local_rows(getattr(features, name), RESIDUE_AXIS[name] - 1, group) for name in MSA_FEATURES
    }
    return replace(features, **sequences)


def local_templates(templates: TemplateFeatures, group: RankGroup) -> TemplateFeatures:
    """The templates whose torsions this rank adds as rows of the MSA; padding is masked."""
    axes = {f.name: RESIDUE_AXIS.get(f.name, 0) - 1 for f in fields(templates) if f.name != "backbone"}
    local = {name: _local_rows(getattr(templates, name), axis, group) for name, axis in axes.items()}
    return replace(templates, backbone=None, **local)


def padded_recycled(previous: Recycled, group: RankGroup) -> Recycled:
    """What a sharded pass handed on, padded again; its pairs are this rank's rows and still padded."""
    row, positions = padded(previous.msa_first_row, -2, group.size), padded(previous.positions, -3, group.size)
    return Recycled(row, previous.pair, positions)


def _pad_residues(features: T, group: RankGroup) -> T:
    named: Any = {f.name: getattr(features, f.name) for f in fields(features) if f.name in RESIDUE_AXIS}
    for name, x in named.items():
        named[name] = None if x is None else padded(x, RESIDUE_AXIS[name], group.size)
    return replace(features, **named)


def _local_rows(x: Tensor, axis: int, group: RankGroup) -> Tensor:
    return local_shard(padded(x, axis, group.size), axis, group)
