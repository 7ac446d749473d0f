"""Shard one sample's activations over a group of ranks (DAP); every rank has all parameters."""

import copy
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import nn

from foldcli.geometry.rigid import Rigid
from foldcli.model.alphafold import AlphaFold, Folded, FoldingModel, Output
from foldcli.model.features import Features, Recycled
from foldcli.model.structure import StructureState
from foldcli.parallel.dap import DAP_MODULES
from foldcli.parallel.layouts import all_gather_async, local_shard
from foldcli.parallel.local_features import local_features, padded_recycled
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Tensor

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class ShardedFolded(Folded):
    """One rank's part of what a fold reads: `pair` is this rank's rows, padded; all else is whole."""

    group: RankGroup


@dataclass(frozen=True)
class ShardedOutput(Output):
    """One rank's output of a pass: whole where it has one value for each residue, else this rank's shard.

    pair, distogram and pae are this rank's rows, masked_msa its sequences, both padded; `gather_output` makes them
    whole. sequences: how many there are on all ranks together.
    """

    sequences: int
    group: RankGroup


class DapAlphaFold(AlphaFold):
    """The model on one rank of a DAP group; called like the plain one, with the same features on every rank."""

    group: RankGroup

    def forward(self, features: Features, previous: Recycled | None = None) -> ShardedOutput:
        output = super().forward(*_local_inputs(features, previous, self.group))
        values = _whole_per_residue(output, features, self.group)
        return ShardedOutput(**values, sequences=features.msa_mask.shape[-2], group=self.group)

    def recycle(self, features: Features, previous: Recycled | None) -> Recycled:
        folded, _ = self.fold(*_local_inputs(features, previous, self.group))
        return ShardedFolded(**_whole_per_residue(folded, features, self.group), group=self.group).recycled()


class DapFoldingModel(FoldingModel):
    """The model as a fold runs it, on one rank of a DAP group."""

    group: RankGroup

    def forward(self, features: Features, previous: Recycled | None = None) -> ShardedFolded:
        folded = super().forward(*_local_inputs(features, previous, self.group))
        return ShardedFolded(**_whole_per_residue(folded, features, self.group), group=self.group)


MODELS = {AlphaFold: DapAlphaFold, FoldingModel: DapFoldingModel}


def shard(model: M, group: RankGroup) -> M:
    """Replace the classes of a model's modules by their DAP modules, in place; parameters stay as they are.

    Comes first: recomputing blocks and AutoChunk then wrap what a rank runs.
    """
    if group.size == 1:
        return model
    for module in model.modules():
        assert "forward" not in vars(module), "shard a model before its blocks are wrapped"
        dap_module = (MODELS | DAP_MODULES).get(type(module))
        if dap_module is not None:
            module.__class__ = dap_module
            module.group = group  # type: ignore[assignment]
    return model


def sharded_copy(model: M, group: RankGroup) -> M:
    """The model as the ranks of a group run it; it shares its parameters with the plain one."""
    if group.size == 1:
        return model
    return shard(copy.deepcopy(model, {id(p): p for p in model.parameters()}), group)


def gather_output(output: Output) -> Output:
    """The whole output, on every rank; all must compute the same loss of it, since its gradient is not summed."""
    if not isinstance(output, ShardedOutput):
        return output
    group, length = output.group, output.lddt.shape[-2]

    def pairs(x: Tensor) -> Tensor:
        return _gather_replicated(x, -3, group)[..., :length, :length, :]

    values = {f.name: getattr(output, f.name) for f in fields(Output)}
    masked_msa = _gather_replicated(output.masked_msa, -3, group)[..., : output.sequences, :length, :]
    pae = None if output.pae is None else pairs(output.pae)
    whole = {"pair": pairs(output.pair), "distogram": pairs(output.distogram), "pae": pae, "masked_msa": masked_msa}
    return Output(**values | whole)


def gather_rows(rows: Tensor, output: Folded) -> Tensor:
    """Gather on the CPU, from all ranks, what was computed from the rows of pairs of `output`; rows: [i, ...]."""
    if not isinstance(output, ShardedFolded | ShardedOutput):
        return rows.cpu()
    return all_gather_async(rows.cpu(), 0, output.group).wait()[: output.lddt.shape[-2]]


def _gather_replicated(x: Tensor, axis: int, group: RankGroup) -> Tensor:
    return _GatherReplicated.apply(x, axis, group)  # type: ignore[no-untyped-call]


class _GatherReplicated(torch.autograd.Function):
    """All-gather for what every rank computes alike: its gradient is whole on each, so the backward takes a shard."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, group: RankGroup) -> Tensor:
        ctx.axis, ctx.group = axis, group
        return all_gather_async(x, axis, group).wait()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return local_shard(gradient, ctx.axis, ctx.group), None, None


def _local_inputs(features: Features, previous: Recycled | None, group: RankGroup) -> tuple[Features, Recycled | None]:
    return local_features(features, group), padded_recycled(previous, group) if previous else None


def _whole_per_residue(output: Folded, features: Features, group: RankGroup) -> dict[str, Any]:
    """All values of an output; those of which there is one for each residue are gathered, in one message."""
    names = [name for name in ("positions", "resolved", "lddt", "msa_first_row", "single") if hasattr(output, name)]
    parts, length = [getattr(output, name) for name in names], features.msa_mask.shape[-1]
    for state in output.states:
        parts += [state.frames.rotation, state.frames.translation, state.torsions, state.raw_torsions]
    leading = output.lddt.dim() - 1
    flat = [part.flatten(leading) for part in parts]
    whole = _gather_replicated(torch.cat(flat, dim=-1), -2, group)[..., :length, :]
    split = whole.split([part.shape[-1] for part in flat], dim=-1)
    shaped = [x.unflatten(-1, part.shape[leading:]) for x, part in zip(split, parts, strict=True)]
    values = shaped[len(names) :]
    states = [StructureState(Rigid(*values[k : k + 2]), *values[k + 2 : k + 4]) for k in range(0, len(values), 4)]
    return vars(output) | dict(zip(names, shaped, strict=False)) | {"states": states}
