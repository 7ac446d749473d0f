"""A training run: steps, validation and checkpoints, until the last step or an interrupt."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from foldcli.config import TrainConfig
from foldcli.data.training.chain_source import ChainSource
from foldcli.data.training.loader import Loader, validation_samples
from foldcli.data.training.sample import Sample
from foldcli.data.training.tensors import named_tensors
from foldcli.errors import FoldcliError, Interrupted
from foldcli.model.alphafold import AlphaFold
from foldcli.system_memory import is_lack_of_memory
from foldcli.training.checkpoint import Checkpoints
from foldcli.training.curves import plot_curves
from foldcli.training.flops import pass_flops, peak_flops, training_passes
from foldcli.training.folder import AVERAGES, Journal, export, write_averages
from foldcli.training.interrupt import deferred_interrupts
from foldcli.training.learner import Learner, Step
from foldcli.training.memory import ADVICE
from foldcli.training.pace import Pace
from foldcli.training.progress import Watcher, describe
from foldcli.training.validation import validate
from foldcli.weights.files import BEST, LAST, write_safetensors


@dataclass(frozen=True)
class BegunStep:
    """A step that may still run on the device: it began at `start`, after `waiting` seconds without its samples."""

    found: Callable[[], Step]
    batches: list[Sample]
    start: float
    waiting: float


class TrainingRun:
    """Trains a learner and writes results into a folder; call `train`."""

    def __init__(
        self, learner: Learner, source: ChainSource, held_out: ChainSource | None, folder: Path, lock: FileLock | None
    ) -> None:
        self.learner = learner
        self.config: TrainConfig = learner.config
        self.mesh = learner.mesh
        self.device = learner.device
        self.folder = folder
        self.lock = lock  # of the folder; the first rank has it
        self.held_out = held_out
        self.loader = Loader(source, self.config, self.mesh.data.rank, self.mesh.data.size, self.device)
        self.checkpoints = Checkpoints(folder / "checkpoints", self.config.checkpoint.keep)
        self.journal = Journal(folder) if self.mesh.world.first else None
        self.flops = self.peak = 0.0
        self.begun: BegunStep | None = None
        self.pace = Pace(self.config.steps, 0)

    def resume(self, watcher: Watcher, changed: str) -> None:
        """Continue from the latest whole checkpoint, if any; changed: names hardware other than it was made on.

        Damaged checkpoints after it are told and set aside. FoldcliError: all are damaged.
        """
        damaged = []
        for path in reversed(self.checkpoints.steps()):
            try:
                self.learner.resume(path)
            except FoldcliError as error:
                damaged.append((path, error))
                continue
            self._set_aside(damaged, watcher)
            watcher.say(f"resumed from {path}")
            if changed:
                watcher.say(f"from here on the run is not the same to the bit as where it was begun: {changed}")
            return
        if damaged:
            raise FoldcliError(f"{damaged[-1][1]}, nor is any other state there; --resume none begins anew")
        if (self.folder / AVERAGES).is_file():
            self.learner.resume_from_averages(self.folder / AVERAGES)
            watcher.say(f"resumed from {self.folder / AVERAGES}: step {self.learner.number}, with a new optimiser")

    def _set_aside(self, damaged: Sequence[tuple[Path, FoldcliError]], watcher: Watcher) -> None:
        """Rename damaged checkpoints, once every rank has found them so."""
        self.mesh.world.barrier()
        if self.mesh.world.first:
            for path, error in damaged:
                watcher.say(f"left out, and renamed to {self.checkpoints.leave_out(path).name}: {error}")

    def train(self, watcher: Watcher) -> None:
        """Take all remaining steps. Interrupted: by a signal, after the step is finished and a checkpoint written.

        FoldcliError: too many unreadable chains or refused steps in a row, or a full disk.
        """
        if self.journal:
            self.journal.forget_from(self.learner.number)
        try:
            self._take_steps(watcher)
            self._finish(watcher)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted after {self.learner.number} steps; the same command goes on") from None
        except OSError as error:
            raise FoldcliError(
                f"{self.folder}: cannot be written ({error.strerror}); make room, then resume"
            ) from error
        except Exception as error:
            if is_lack_of_memory(error):
                raise FoldcliError(f"out of memory in step {self.learner.number}; {ADVICE}") from error
            raise
        finally:
            if self.lock:
                self.lock.release()

    def _take_steps(self, watcher: Watcher) -> None:
        # One rank that stopped alone would leave the others waiting: several ranks end at once, without a checkpoint.
        notes = contextlib.nullcontext(threading.Event()) if self.mesh.world.size > 1 else deferred_interrupts()
        try:
            with notes as asked:
                self.loader.start(self.learner.number)
                self.pace = Pace(self.config.steps, self.learner.number, self.config.max_minutes)
                while not self.pace.over(self.learner.number) and not asked.is_set():
                    self._step(watcher)
                    self.pace.stepped()
                self._tell(watcher)
                if asked.is_set() or self.config.max_minutes:
                    self._checkpoint()
                if asked.is_set():
                    raise KeyboardInterrupt
        finally:
            self.loader.close()
            self.checkpoints.finish()

    def _step(self, watcher: Watcher) -> None:
        """Begin a step, and tell of the one before, which a GPU has meanwhile finished: it never waits for the host."""
        start, waited = time.perf_counter(), self.loader.waited
        batches = self.loader.step()
        found = self.learner.start(batches, self.pace.position(self.learner.number))
        begun = BegunStep(found, batches, start, self.loader.waited - waited)
        self._tell(watcher, start)
        self.begun = begun
        if self._due(self.config.validate_every):
            self._tell(watcher)
            self._validate(watcher)
        if self._due(self.config.checkpoint.every):
            self._tell(watcher)
            self._checkpoint()

    def _tell(self, watcher: Watcher, end: float | None = None) -> None:
        """Wait for the step that was begun, and log what it found; end: when the next one began."""
        begun, self.begun = self.begun, None
        if begun is None:
            return
        step = begun.found()
        seconds = (end or time.perf_counter()) - begun.start
        if step.refused:
            self._save_skipped(step, begun.batches, watcher)
        if self.journal:
            figures = self._figures(step, begun.batches, seconds) | {"seconds/waiting": begun.waiting}
            self.journal.add(step.number, figures)
            watcher.stepped(step.number + 1, describe(figures))

    def _due(self, every: int) -> bool:
        return bool(every) and (self.learner.number % every == 0 or self.learner.number == self.config.steps)

    def _figures(self, step: Step, batches: list[Sample], seconds: float) -> dict[str, float | str]:
        if not self.flops:  # counted once, although later steps' shapes may differ a little
            self.flops = pass_flops(self.config.model, batches[0].passes[-1])
            self.peak = peak_flops(self.device, self.learner.dtype)
        flops = sum(training_passes(batch) for batch in batches) * self.flops
        figures: dict[str, float | str] = {f"loss/{name}": term for name, term in step.terms.items()}
        figures |= {"gradient_norm": step.norm, "learning_rate": step.rate, "lddt": step.lddt}
        figures |= {"samples_per_second": self.config.batch_size / seconds, "mfu": flops / seconds / self.peak}
        return figures | ({"refused": step.refused} if step.refused else {})

    def _save_skipped(self, step: Step, batches: list[Sample], watcher: Watcher) -> None:
        """Save the batch of a step that was not taken, for inspection."""
        folder = self.folder / "skipped"
        for place, batch in enumerate(batches):
            path = folder / f"step_{step.number:08d}_rank_{self.mesh.data.rank}_{place}.safetensors"
            notes = {"names": " ".join(batch.names), "reason": step.refused}
            write_safetensors(path, dict(named_tensors(batch)), notes)
        watcher.say(f"step {step.number} was not taken: {step.refused}; its batch is in {folder}")

    def _validate(self, watcher: Watcher) -> None:
        if self.held_out is None:
            return
        with self.learner.averaged() as model:
            scores = self._scores(model, alone=False)
            by_sequence = self._scores(model, alone=True)
        if self.journal:
            self.journal.add(self.learner.number, {f"validation/{name}": x for name, x in scores.items()})
            self.journal.add(self.learner.number, {f"validation/alone_{name}": x for name, x in by_sequence.items()})
        lddt = scores["lddt"]
        watcher.say(
            f"step {self.learner.number}, validation: lDDT {lddt:.3f}, TM-score {scores['tm_score']:.3f}; "
            f"from the sequence alone {by_sequence['lddt']:.3f}, {by_sequence['tm_score']:.3f}"
        )
        if lddt > self.learner.best:
            self.learner.best, self.learner.best_step = lddt, self.learner.number
            self._export(BEST)
            self._checkpoint()

    def _scores(self, model: AlphaFold, alone: bool) -> dict[str, float]:
        assert self.held_out is not None
        place, ranks = self.mesh.data.rank, self.mesh.data.size
        return validate(model, validation_samples(self.held_out, self.config, alone, place, ranks), self.mesh)

    def _checkpoint(self) -> None:
        if self.mesh.world.first:
            self.checkpoints.write(self.learner.number, self.learner.best_step, self.learner.state())

    def _export(self, name: str) -> None:
        if self.mesh.world.first:
            notes = f"foldcli train, recipe {self.config.name}, step {self.learner.number} of {self.config.steps}"
            export(self.folder / name, self.config.model, self.learner.optimizer.averages, notes)

    def _finish(self, watcher: Watcher) -> None:
        self._export(LAST)
        if self.config.max_minutes:
            write_averages(self.folder, self.learner.optimizer.averages, self.learner.number)
            watcher.say(
                f"{self.learner.number} of {self.config.steps} steps fitted into {self.config.max_minutes:g} minutes; "
                f"to go on elsewhere, take {self.folder / AVERAGES} along"
            )
        if self.journal:
            plot_curves(self.folder / "curves.png", self.journal.lines())
            watcher.say(f"done: {self.folder}; fold with `foldcli fold INPUT --weights {self.folder / LAST}`")
