"""One training step: micro-batches in, parameters updated."""

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from foldcli.config import TrainConfig
from foldcli.data.training.sample import Sample
from foldcli.errors import WeightsError
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.parallel.gradients import average_over_data, whole_gradients
from foldcli.parallel.mesh import RankMesh
from foldcli.parallel.shard import gather_output
from foldcli.shapes import Float, Tensor
from foldcli.timers import Timers
from foldcli.training.checkpoint import read_state
from foldcli.training.folder import read_averages
from foldcli.training.graphs import StepGraphs
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
        self.guard = Guard(config.guard, self.device)
        self.timers = Timers()
        self.graphs = StepGraphs(self.device.type == "cuda" and mesh.axial.size == 1)
        self.figures: list[str] = []  # names of what `_accumulate` returns
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
        """Take one step and wait for it; FoldcliError if the guard refused too many steps in a row."""
        return self.start(batches)()

    def start(self, batches: Sequence[Sample], position: int | None = None) -> Callable[[], Step]:
        """Start one step from this rank's micro-batches; what is returned waits for the step and says what it found.

        Its result must be asked for before the next one's, and raises FoldcliError after too many refused steps.
        position: the step of the schedule of rates, where it is not the run's own.
        """
        self.model.train()
        share = 1 / len(batches)
        figures = []
        for place, sample in enumerate(batches):
            torch.manual_seed(self._dropout_seed(place))
            figures.append(self.graphs.run("gradients", partial(self._accumulate, share), sample))
        with self.timers.timed("update"):
            position = self.number if position is None else position
            samples, left = (position + 1) * self.config.batch_size, self.config.steps - position - 1
            rate = self.optimizer.schedule(samples, left, self.number)
            means = share * torch.stack(figures).sum(0)
            average_over_data([means, self.optimizer.gradient], self.mesh)
            found = fetched(self.graphs.run("update", self._update, means))
        number = self.number
        self.number += 1
        return lambda: self._told(number, rate, found())

    def _accumulate(self, share: float, sample: Sample) -> Float[Tensor, " n"]:
        """Add `share` of one micro-batch's gradient; returns the terms of its loss, its lDDT and the gradient norm."""
        output = gather_output(predict(self.model, sample, self.timers))
        with self.timers.timed("loss"):
            terms = total(output, sample.passes[-1], sample.labels, self.config.loss, self.config.model)
        with self.timers.timed("backward"):
            gradients = whole_gradients(terms["total"].mean(), self.optimizer.parameters, self.mesh)
        with self.timers.timed("update"):
            norm = self.optimizer.add(gradients, share)
        with self.timers.timed("loss"), torch.no_grad():
            each = torch.stack([*terms.values()]).flatten(1).mean(1)
            self.figures = [*terms, "norm"]
            return torch.cat([each, norm.unsqueeze(0)])

    def _dropout_seed(self, place: int) -> int:
        """The seed of a micro-batch's dropout: by step and place in the batch, so that a resumed run draws the same."""
        batches = self.config.batch_size // self.config.micro_batch // self.mesh.data.size
        return zlib.crc32(f"{self.config.seed} {self.number} {self.mesh.data.rank * batches + place}".encode())

    def _update(self, figures: Float[Tensor, " n"]) -> Tensor:
        """Take the step that was prepared, unless the guard refuses it; returns the figures and what it decided by."""
        total, norm = figures[-3], figures[-1]
        taken, mean = self.guard.judge(total, norm)
        self.optimizer.step(taken)
        return torch.cat([figures.double(), torch.stack([taken.double(), mean])])

    def _told(self, number: int, rate: float, found: list[float]) -> Step:
        *figures, taken, mean = found
        terms = dict(zip(self.figures, figures, strict=True))
        norm, kept = terms.pop("norm"), terms.pop("lddt_ca")
        refused = self.guard.told(bool(taken), terms["total"], norm, mean)
        return Step(number, terms, norm, rate * taken, kept, refused)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name; waits for the device."""
        progress = [self.number, self.best, self.best_step, float(self.guard.mean), float(self.guard.seen)]
        return self.optimizer.state() | {"progress": torch.tensor([*progress, self.guard.refused], dtype=torch.float64)}

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; FoldcliError if it is damaged or of another model."""
        state = self.state()
        read_state(path, state)
        number, self.best, best_step, mean, seen, refused = state["progress"].tolist()
        self.number, self.best_step, self.guard.refused = int(number), int(best_step), int(refused)
        self.guard.mean.fill_(mean)
        self.guard.seen.fill_(seen)
        self.optimizer.flat.copy_to_model()

    def resume_from_averages(self, path: Path) -> None:
        """Continue from what `write_averages` wrote: the averages become what is learnt, the optimiser is new.

        WeightsError if it is damaged or of another model.
        """
        averages, self.number = read_averages(path)
        ours = self.optimizer.averages
        unfit = sorted(ours.keys() ^ averages.keys())
        unfit += [name for name in ours if name in averages and ours[name].shape != averages[name].shape]
        if unfit:
            raise WeightsError(f"{path}: of another model ('{unfit[0]}' does not fit); remove it to begin anew")
        for name, average in ours.items():
            average.copy_(averages[name])
        self.optimizer.learn_averages()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[AlphaFold]:
        """The model with exponentially averaged parameters inside the block, for evaluation."""
        with self.optimizer.averaged():
            yield self.model.eval()


def fetched(figures: Float[Tensor, " n"]) -> Callable[[], list[float]]:
    """Copy figures from the device while the host goes on; what is returned waits for them."""
    if not figures.is_cuda:
        return figures.tolist
    there = torch.empty(figures.shape, dtype=figures.dtype, pin_memory=True)
    there.copy_(figures, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> list[float]:
        done.synchronize()
        found: list[float] = there.tolist()
        return found

    return wait


def predict(model: AlphaFold, sample: Sample, timers: Timers) -> Output:
    """Output of the last recycling pass; only it has gradients (Suppl. Alg. 31)."""
    previous = None
    with torch.no_grad(), timers.timed("recycling"):
        for features in sample.passes[:-1]:
            previous = model.recycle(features, previous)
    with timers.timed("forward"):
        return model(sample.passes[-1], previous)
