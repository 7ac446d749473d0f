"""Split one sample's activations over the axial ranks; the model stays as it is, the parameters are on every rank."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh

from foldcli.geometry.rigid import Rigid
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.features import Features, Recycled
from foldcli.model.structure import StructureState
from foldcli.parallel.entry import own_features, padded_recycled
from foldcli.parallel.layouts import gather, own
from foldcli.parallel.mesh import AXIAL, Axis, axis_of
from foldcli.parallel.units import TWINS
from foldcli.shapes import Tensor


@dataclass(frozen=True)
class SplitOutput(Output):
    """What one rank has of a pass: everything that is one value a residue whole, the rest its own part.

    pair, distogram and pae are this rank's rows, masked_msa its sequences, filled up to a length that divides;
    `gather_output` makes them whole. sequences: how many there are on all ranks.
    """

    sequences: int
    ranks: Axis


class SplitAlphaFold(AlphaFold):
    """The model on one of the axial ranks: called as the plain one, with the same features on every rank."""

    ranks: Axis

    def forward(self, features: Features, previous: Recycled | None = None) -> SplitOutput:
        length, sequences = features.msa_mask.shape[-1], features.msa_mask.shape[-2]
        earlier = padded_recycled(previous, self.ranks) if previous else None
        output = super().forward(own_features(features, self.ranks), earlier)
        values = {f.name: getattr(output, f.name) for f in fields(output)}
        values |= _whole_residues(output, length, self.ranks)
        return SplitOutput(**values, sequences=sequences, ranks=self.ranks)


def shard(model: AlphaFold, mesh: DeviceMesh) -> AlphaFold:
    """Split the model's activations over the mesh's axial ranks; the same model, its parts changed in place."""
    return split_over(model, axis_of(mesh, AXIAL))


def split_over(model: AlphaFold, ranks: Axis) -> AlphaFold:
    """The same by the axial ranks themselves."""
    if ranks.size == 1:
        return model
    for module in model.modules():
        assert "forward" not in vars(module), "split a model before its blocks are wrapped"
        twin = SplitAlphaFold if type(module) is AlphaFold else TWINS.get(type(module))
        if twin is not None:
            module.__class__ = twin
            module.ranks = ranks  # type: ignore[assignment]
    return model


def gather_output(output: Output) -> Output:
    """The whole pass on every rank, of which each computes the same loss: gradients go back to whose part it was."""
    if not isinstance(output, SplitOutput):
        return output
    ranks, length = output.ranks, output.lddt.shape[-2]

    def pairs(x: Tensor) -> Tensor:
        return _for_every_rank(x, -3, ranks)[..., :length, :length, :]

    values = {f.name: getattr(output, f.name) for f in fields(Output)}
    masked_msa = _for_every_rank(output.masked_msa, -3, ranks)[..., : output.sequences, :length, :]
    pae = None if output.pae is None else pairs(output.pae)
    whole = {"pair": pairs(output.pair), "distogram": pairs(output.distogram), "pae": pae, "masked_msa": masked_msa}
    return Output(**values | whole)


def whole_rows(rows: Tensor, output: Output) -> Tensor:
    """What was computed from an output's rows of pairs [i, ...], from all ranks, on the CPU."""
    if not isinstance(output, SplitOutput):
        return rows.cpu()
    return gather(rows.cpu(), 0, output.ranks).wait()[: output.lddt.shape[-2]]


def _for_every_rank(x: Tensor, axis: int, ranks: Axis) -> Tensor:
    return _ForEveryRank.apply(x, axis, ranks)  # type: ignore[no-untyped-call]


class _ForEveryRank(torch.autograd.Function):
    """Bring all parts together where every rank goes on in the same way: a part's gradient is then on its own rank."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, ranks: Axis) -> Tensor:
        ctx.axis, ctx.ranks = axis, ranks
        return gather(x, axis, ranks).wait()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return own(gradient, ctx.axis, ctx.ranks), None, None


def _whole_residues(output: Output, length: int, ranks: Axis) -> dict[str, Any]:
    """Everything of an output that is one value a residue, from all ranks in one message."""
    names = ("positions", "resolved", "lddt", "msa_first_row", "single")
    parts = [getattr(output, name) for name in names]
    for state in output.states:
        parts += [state.frames.rotation, state.frames.translation, state.torsions, state.raw_torsions]
    leading = output.lddt.dim() - 1
    flat = [part.flatten(leading) for part in parts]
    whole = _for_every_rank(torch.cat(flat, dim=-1), -2, ranks)[..., :length, :]
    split = whole.split([part.shape[-1] for part in flat], dim=-1)
    shaped = [x.unflatten(-1, part.shape[leading:]) for x, part in zip(split, parts, strict=True)]
    values = shaped[len(names) :]
    states = [StructureState(Rigid(*values[k : k + 2]), *values[k + 2 : k + 4]) for k in range(0, len(values), 4)]
    return dict(zip(names, shaped, strict=False)) | {"states": states}
