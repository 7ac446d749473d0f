"""Load the micro-batches of each training step, and whole chains for validation."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from foldcli.config import TrainConfig
from foldcli.data.training.chain_source import ChainSource
from foldcli.data.training.collate import stack
from foldcli.data.training.make_sample import whole_sample
from foldcli.data.training.micro_batch import ATTEMPTS, MicroBatch, MicroBatches, UnreadableChain
from foldcli.data.training.sample import Sample
from foldcli.data.training.workers import stream
from foldcli.errors import FoldcliError, InputError

log = logging.getLogger(__name__)
# Fewest draws before the share of unreadable chains is judged.
ENOUGH = 100


class Loader:
    """Loads one data rank's micro-batches of each step, an equal contiguous share of the batch.

    A step's samples depend on the seed and the step number only, not on ranks, workers, timing, or where a run resumed.
    They arrive on `device`, if one is given.
    waited: seconds the caller has waited for samples; drawn: chains drawn so far; bad: those that could not be read and
    were replaced. InputError: the batch cannot be split evenly.
    """

    def __init__(
        self, source: ChainSource, config: TrainConfig, rank: int = 0, ranks: int = 1,
        device: torch.device | None = None,
    ) -> None:  # fmt: skip
        if config.batch_size % (config.micro_batch * ranks):
            raise InputError(
                f"'batch_size' is {config.batch_size}; expected a multiple of "
                f"{config.micro_batch * ranks} ('micro_batch' {config.micro_batch} on {ranks} data ranks)"
            )
        self.config, self.rank, self.device = config, rank, device
        self.share = config.batch_size // (config.micro_batch * ranks)
        self.batches = MicroBatches(source, config)
        self.waited, self.drawn, self.bad = 0.0, 0, 0
        self._reasons: dict[str, str] = {}
        self._stream = stream(self.batches, (), 0)

    def start(self, step: int) -> None:
        """Start at a step, from 0; workers prefetch the steps after it."""
        self.close()
        first = self.rank * self.share
        keys = (
            (number, micro_batch)
            for number in range(step, self.config.steps)
            for micro_batch in range(first, first + self.share)
        )
        self._stream = stream(self.batches, keys, self.config.workers, self.device)

    def step(self) -> list[Sample]:
        """The micro-batches of the next step; FoldcliError: too many of the chains drawn cannot be read."""
        began = time.perf_counter()
        batches = list(islice(self._stream, self.share))
        self.waited += time.perf_counter() - began
        return [self._checked(batch) for batch in batches]

    def close(self) -> None:
        """Stop the worker processes."""
        self._stream.close()

    def _checked(self, batch: MicroBatch) -> Sample:
        for entry in batch.bad:
            if entry.name not in self._reasons:
                log.warning("%s: left out: %s", entry.name, entry.reason)
            self._reasons[entry.name] = entry.reason
        self.bad += len(batch.bad)
        self.drawn += len(batch.bad) + self.config.micro_batch
        if self.drawn >= ENOUGH and self.bad > self.config.guard.bad_entries * self.drawn:
            raise self._too_many(f"more than 'guard.bad_entries' ({self.config.guard.bad_entries:g}) allows")
        if batch.sample is None:
            raise self._too_many(f"{ATTEMPTS} of them in a row")
        return batch.sample

    def _too_many(self, why: str) -> FoldcliError:
        last = list(self._reasons.values())[-1]
        return FoldcliError(f"{self.bad} of {self.drawn} chains drawn cannot be read, {why}; for example: {last}")


def validation_samples(
    source: ChainSource, config: TrainConfig, alone: bool, rank: int = 0, ranks: int = 1
) -> Iterator[Sample]:
    """Whole chains [1, ...] in a fixed order: this data rank's share of the first `config.validation_chains`.

    alone: without homologs and templates. A chain that cannot be read is logged and left out.
    """
    count = min(config.validation_chains, len(source.entries))
    for item in stream(WholeChains(source, config, alone), range(rank, count, ranks), config.workers):
        if isinstance(item, UnreadableChain):
            log.warning("%s: left out of validation: %s", item.name, item.reason)
        else:
            yield item


@dataclass(frozen=True)
class WholeChains:
    """Makes samples of whole chains by their position in the source."""

    source: ChainSource
    config: TrainConfig
    alone: bool

    def __call__(self, position: int) -> Sample | UnreadableChain:
        try:
            chain = self.source.load(position)
        except InputError as error:
            return UnreadableChain(self.source.entries[position].name, str(error))
        return stack([whole_sample(chain, self.config, self.alone)])
