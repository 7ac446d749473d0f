"""Draw micro-batches: which samples they hold depends on seed, step and position only."""

from dataclasses import dataclass

import numpy as np

from foldcli.config import TrainConfig
from foldcli.data.training.chain_source import ChainSource, sampling_weights
from foldcli.data.training.collate import stack
from foldcli.data.training.make_sample import draw_sample
from foldcli.data.training.sample import Sample
from foldcli.errors import InputError

# Draws for one position of a batch before unreadable chains stop the run.
ATTEMPTS = 100


@dataclass(frozen=True)
class UnreadableChain:
    """A chain that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class MicroBatch:
    """Samples [b, ...], None if all attempts at one failed; bad: unreadable chains, replaced by other draws."""

    sample: Sample | None
    bad: tuple[UnreadableChain, ...]


class MicroBatches:
    """Draws micro-batches by step and number, with replacement, by `sampling_weights`."""

    def __init__(self, source: ChainSource, config: TrainConfig) -> None:
        self.source, self.config = source, config
        self.cumulative = np.cumsum(sampling_weights(source.entries))

    def __call__(self, key: tuple[int, int]) -> MicroBatch:
        """Draw micro-batch `number` of a step's global batch, the same in every rank and process."""
        step, number = key
        size = self.config.micro_batch
        recycles = draw_recycles(self.config, step)
        bad: list[UnreadableChain] = []
        samples = [self._draw(step, place, recycles, bad) for place in range(number * size, (number + 1) * size)]
        readable = [sample for sample in samples if sample is not None]
        return MicroBatch(stack(readable) if len(readable) == size else None, tuple(bad))

    def _draw(self, step: int, place: int, recycles: int, bad: list[UnreadableChain]) -> Sample | None:
        for attempt in range(ATTEMPTS):
            random = _generator(self.config.seed, step, place, attempt)
            position = int(np.searchsorted(self.cumulative, random.random() * self.cumulative[-1], side="right"))
            try:
                chain = self.source.load(position)
            except InputError as error:
                bad.append(UnreadableChain(self.source.entries[position].name, str(error)))
                continue
            return draw_sample(chain, self.config, recycles, random)
        return None


def draw_recycles(config: TrainConfig, step: int) -> int:
    """Draw the number of recycling passes of a step, uniform and the same on all ranks (Suppl. Alg. 31)."""
    return int(_generator(config.seed, step).integers(config.sample.max_recycle + 1))


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
