"""One training step: micro-batches in, parameters updated."""

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from foldcli.config import TrainConfig
from foldcli.data.training.sample import Sample
from foldcli.geometry.lddt import lddt
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.parallel.gradients import average_over_data, sum_over_axial
from foldcli.parallel.mesh import RankMesh
from foldcli.parallel.shard import gather_output
from foldcli.protein.residues import CA
from foldcli.shapes import Float, Tensor
from foldcli.timers import Timers
from foldcli.training.checkpoint import read_state
from foldcli.training.guard import Guard
from foldcli.training.losses import total
from foldcli.training.optimizer import Optimizer


@dataclass(frozen=True)
class Step:
    """Result of step `number`: means over the batch of the loss terms and of the gradient norm before clipping.

    lddt: of CA atoms; refused: why the step was not taken, or "".
    """

    number: int
    terms: dict[str, float]
    norm: float
    rate: float
    lddt: float
    refused: str

    @property
    def loss(self) -> float:
        return self.terms["total"]


class Learner:
    """A model in training: with its optimiser, guard and progress, all that a checkpoint holds."""

    def __init__(self, model: AlphaFold, config: TrainConfig, mesh: RankMesh) -> None:
        self.model = model
        self.config = config
        self.mesh = mesh
        self.optimizer = Optimizer(model, config.optimizer)
        self.guard = Guard(config.guard)
        self.timers = Timers()
        self.number = 0
        self.best, self.best_step = 0.0, -1

    @property
    def device(self) -> torch.device:
        return self.optimizer.parameters[0].device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the trunk."""
        return self.model.trunk.single.weight.dtype

    def learn(self, batches: Sequence[Sample]) -> Step:
        """Take one step from this rank's micro-batches; FoldcliError if the guard refused too many steps in a row."""
        self.model.train()
        share = 1 / len(batches)
        figures = [self._accumulate(sample, place, share) for place, sample in enumerate(batches)]
        with self.timers.timed("update"):
            means = {name: share * torch.stack([figure[name] for figure in figures]).sum() for name in figures[0]}
            average_over_data([*means.values(), *self.optimizer.gradients], self.mesh)
            step = self._update({name: float(mean) for name, mean in means.items()})
        self.number += 1
        return step

    def _accumulate(self, sample: Sample, place: int, share: float) -> dict[str, Tensor]:
        """Add one micro-batch's gradient; returns the terms of its loss, its lDDT and the gradient norm."""
        torch.manual_seed(self._dropout_seed(place))
        output = gather_output(predict(self.model, sample, self.timers))
        with self.timers.timed("loss"):
            terms = total(output, sample.passes[-1], sample.labels, self.config.loss, self.config.model)
        with self.timers.timed("backward"):
            loss = terms["total"].mean()
            gradients = torch.autograd.grad(loss, self.optimizer.parameters, materialize_grads=True)
            sum_over_axial(gradients, self.mesh)
        with self.timers.timed("update"):
            norm = self.optimizer.add(gradients, share)
        terms["lddt_ca"] = ca_lddt(output, sample)
        return {name: term.detach().mean() for name, term in terms.items()} | {"norm": norm}

    def _dropout_seed(self, place: int) -> int:
        """The seed of a micro-batch's dropout: by step and place in the batch, so that a resumed run draws the same."""
        batches = self.config.batch_size // self.config.micro_batch // self.mesh.data.size
        return zlib.crc32(f"{self.config.seed} {self.number} {self.mesh.data.rank * batches + place}".encode())

    def _update(self, means: dict[str, float]) -> Step:
        norm, kept, rate = means.pop("norm"), means.pop("lddt_ca"), 0.0
        refused = self.guard.refuse(means["total"], norm)
        if refused:
            self.optimizer.clear()
        else:
            samples, left = (self.number + 1) * self.config.batch_size, self.config.steps - self.number - 1
            rate = self.optimizer.step(samples, left, self.number)
        return Step(self.number, means, norm, rate, kept, refused)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        progress = [self.number, self.best, self.best_step, self.guard.mean, self.guard.seen, self.guard.refused]
        return self.optimizer.state() | {"progress": torch.tensor(progress, dtype=torch.float64)}

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; FoldcliError if it is damaged or of another model."""
        state = self.state()
        read_state(path, state)
        number, self.best, best_step, self.guard.mean, seen, refused = state["progress"].tolist()
        self.number, self.best_step = int(number), int(best_step)
        self.guard.seen, self.guard.refused = int(seen), int(refused)
        self.optimizer.copy_to_model()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[AlphaFold]:
        """The model with exponentially averaged parameters inside the block, for evaluation."""
        learnt = [p.detach().clone() for p in self.optimizer.parameters]
        _copy_into(self.optimizer.parameters, self.optimizer.averages)
        try:
            yield self.model.eval()
        finally:
            _copy_into(self.optimizer.parameters, learnt)


@torch.no_grad()
def _copy_into(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


@torch.no_grad()
def ca_lddt(output: Output, sample: Sample) -> Float[Tensor, "*b"]:
    """lDDT-CA of each chain of a micro-batch, 0 to 1."""
    known = sample.labels.mask[..., CA] * sample.passes[-1].seq_mask
    return lddt(output.positions[..., CA, :], sample.labels.positions[..., CA, :], known)


def predict(model: AlphaFold, sample: Sample, timers: Timers) -> Output:
    """Output of the last recycling pass; only it has gradients (Suppl. Alg. 31)."""
    previous = None
    with torch.no_grad(), timers.timed("recycling"):
        for features in sample.passes[:-1]:
            previous = model(features, previous).recycled()
    with timers.timed("forward"):
        return model(sample.passes[-1], previous)
