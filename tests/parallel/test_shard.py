"""A sharded model (DAP) gives the plain model's outputs and gradients, at any length and depth."""

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch

from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.features import Features
from foldcli.parallel import collectives
from foldcli.parallel.gradients import whole_gradients
from foldcli.parallel.mesh import RankMesh, build_mesh
from foldcli.parallel.shard import gather_output, shard
from tests.parallel.rank_pool import RankPool, group_of
from tests.parallel.samples import COMPLEXES, CONFIG, features, small_model

TOLERANCE = 1e-10


def values(output: Output) -> dict[str, torch.Tensor]:
    """Every tensor of an output by name."""
    found = {f.name: getattr(output, f.name) for f in fields(Output) if f.name != "states"}
    for k, state in enumerate(output.states):
        found |= {f"rotation {k}": state.frames.rotation, f"translation {k}": state.frames.translation}
        found |= {f"torsions {k}": state.torsions, f"raw torsions {k}": state.raw_torsions}
    return found


def loss(output: Output, mask: torch.Tensor) -> torch.Tensor:
    """A scalar that depends on every output value of residues that are not masked."""
    total = output.positions.new_zeros(())
    for name, value in values(output).items():
        draws = torch.Generator().manual_seed(len(name))
        there = value * _spread(mask, value, name)
        weight = torch.randn(value.shape, generator=draws, dtype=value.dtype)
        total = total + (there * weight).mean() / there.detach().abs().max()
    return total


def _spread(mask: torch.Tensor, value: torch.Tensor, name: str) -> torch.Tensor:
    """The residues' mask in the shape of a value."""
    if name in ("pair", "distogram", "pae"):
        return (mask.unsqueeze(-1) * mask.unsqueeze(-2)).unsqueeze(-1)
    if name == "masked_msa":
        return mask.unsqueeze(-2).unsqueeze(-1)
    return mask.reshape(*mask.shape, *[1] * (value.dim() - mask.dim()))


def outcome(
    model: AlphaFold, sample: Features, whole: Callable[[Output], Output], mesh: RankMesh
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Outputs of the second pass and the gradient of every parameter."""
    with torch.no_grad():
        first = model(sample)
    output = whole(model(sample, first.recycled()))
    gradients = whole_gradients(loss(output, sample.seq_mask), list(model.parameters()), mesh)
    masked = {k: (v * _spread(sample.seq_mask, v, k)).detach() for k, v in values(output).items()}
    return masked, gradients


def worst_difference(axial: int, shape: dict) -> dict[str, float]:  # type: ignore[type-arg]
    """Largest difference of the sharded model from the plain one, by output and parameter, relative to 1 + value."""
    return difference_on(build_mesh("cpu", axial), shape)


def difference_of_some(axial: int, shape: dict, message: int) -> dict[str, float]:  # type: ignore[type-arg]
    """The same on the first ranks, nothing on the others; message: bytes of the largest."""
    group = group_of(axial)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collectives, "MESSAGE", message)
        return difference_on(RankMesh(group), shape) if group else {}


def difference_on(mesh: RankMesh, shape: dict) -> dict[str, float]:  # type: ignore[type-arg]
    sample = features(**shape | {"seed": 5 + mesh.data.rank})
    config = COMPLEXES if sample.chains else CONFIG
    expected, wanted = outcome(small_model(config=config).eval(), sample, lambda output: output, RankMesh())
    model = shard(small_model(config=config).eval(), mesh.axial)
    found, gradients = outcome(model, sample, gather_output, mesh)
    names = [name for name, _ in model.named_parameters()]
    pairs = [(key, found[key], expected[key]) for key in expected]
    pairs += list(zip(names, gradients, wanted, strict=True))
    return {name: float((a - b).abs().max() / (1 + b.abs().max())) for name, a, b in pairs}


@pytest.mark.parametrize("axial", [1, 2, 4])
@pytest.mark.parametrize(
    "shape",
    [
        {"length": 7, "depth": 5, "extra": 3, "templates": 3, "cyclic": True},
        {"length": 8, "depth": 4, "extra": 4, "templates": 0, "masked": False},
        {"length": 5, "depth": 2, "extra": 6, "templates": 1, "batch": (2,)},
        {"length": 7, "depth": 3, "extra": 5, "templates": 3, "complexes": True},
        {"length": 4, "depth": 5, "extra": 2, "templates": 0, "complexes": True, "batch": (2,)},
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_model(ranks: RankPool, axial: int, shape: dict) -> None:  # type: ignore[type-arg]
    for found in ranks.run(worst_difference, axial, shape):
        assert max(found.values()) < TOLERANCE, {k: v for k, v in found.items() if v >= TOLERANCE}


@pytest.mark.parametrize(("axial", "message"), [(3, collectives.MESSAGE), (2, 600), (3, 200)])
def test_any_number_of_ranks_and_of_messages_does(ranks: RankPool, axial: int, message: int) -> None:
    """Neither the length, nor the sequences, nor the channels are divisible by three; small messages make slices."""
    shape = {"length": 7, "depth": 5, "extra": 4, "templates": 2}
    for found in ranks.run(difference_of_some, axial, shape, message):
        assert max(found.values(), default=0.0) < TOLERANCE, {k: v for k, v in found.items() if v >= TOLERANCE}
