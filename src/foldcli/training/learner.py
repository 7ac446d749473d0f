"""One step of learning: samples in, parameters moved."""

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
    """What step `number` did: means over the batch of the loss's terms and the gradient's norm, before clipping.

    lddt is that of CA atoms. refused says why the step was not taken.
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
    """A model with all that its learning depends on."""

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
        """What the trunk computes in."""
        return self.model.trunk.single.weight.dtype

    def learn(self, batches: Sequence[Sample]) -> Step:
        """Take one step by this rank's micro-batches; FoldcliError when too many in a row had to be refused."""
        self.model.train()
        share = 1 / len(batches)
        figures = [self._add(sample, place, share) for place, sample in enumerate(batches)]
        with self.timers.timed("update"):
            means = {name: share * torch.stack([figure[name] for figure in figures]).sum() for name in figures[0]}
            average_over_data([*means.values(), *self.optimizer.gradients], self.mesh)
            step = self._move({name: float(mean) for name, mean in means.items()})
        self.number += 1
        return step

    def _add(self, sample: Sample, place: int, share: float) -> dict[str, Tensor]:
        """Add one micro-batch's gradient; the terms of its loss, and the norm."""
        torch.manual_seed(self._draws_of(place))
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

    def _draws_of(self, place: int) -> int:
        """The seed of a micro-batch's dropout, by its place in the whole batch: a resumed run draws the same."""
        batches = self.config.batch_size // self.config.micro_batch // self.mesh.data.size
        return zlib.crc32(f"{self.config.seed} {self.number} {self.mesh.data.rank * batches + place}".encode())

    def _move(self, means: dict[str, float]) -> Step:
        norm, kept, rate = means.pop("norm"), means.pop("lddt_ca"), 0.0
        refused = self.guard.refuse(means["total"], norm)
        if refused:
            self.optimizer.clear()
        else:
            samples, left = (self.number + 1) * self.config.batch_size, self.config.steps - self.number - 1
            rate = self.optimizer.step(samples, left, self.number)
        return Step(self.number, means, norm, rate, kept, refused)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        progress = [self.number, self.best, self.best_step, self.guard.mean, self.guard.seen, self.guard.refused]
        return self.optimizer.state() | {"progress": torch.tensor(progress, dtype=torch.float64)}

    def resume(self, path: Path) -> None:
        """Go on from a state on disk; FoldcliError if it is damaged or of another model."""
        state = self.state()
        read_state(path, state)
        number, self.best, best_step, self.guard.mean, seen, refused = state["progress"].tolist()
        self.number, self.best_step = int(number), int(best_step)
        self.guard.seen, self.guard.refused = int(seen), int(refused)
        self.optimizer.publish()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[AlphaFold]:
        """The model with the averaged parameters, for evaluation."""
        learnt = [p.detach().clone() for p in self.optimizer.parameters]
        _fill(self.optimizer.parameters, self.optimizer.averages)
        try:
            yield self.model.eval()
        finally:
            _fill(self.optimizer.parameters, learnt)


@torch.no_grad()
def _fill(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


@torch.no_grad()
def ca_lddt(output: Output, sample: Sample) -> Float[Tensor, "*b"]:
    """lDDT of the CA atoms of each of a micro-batch's chains."""
    known = sample.labels.mask[..., CA] * sample.passes[-1].seq_mask
    return lddt(output.positions[..., CA, :], sample.labels.positions[..., CA, :], known)


def predict(model: AlphaFold, sample: Sample, timers: Timers) -> Output:
    """The last of a sample's recycling passes; the earlier ones are not learnt from (Suppl. Alg. 31)."""
    previous = None
    with torch.no_grad(), timers.timed("recycling"):
        for features in sample.passes[:-1]:
            previous = model(features, previous).recycled()
    with timers.timed("forward"):
        return model(sample.passes[-1], previous)
