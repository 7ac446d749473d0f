"""Choose the MSA rows that the model sees, and mask letters as in BERT (Suppl. Sec. 1.2.6 and 1.2.7)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foldcli.config import MsaConfig
from foldcli.data.features.philox import RandomOperation
from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, MASK

# Added to probabilities before the logarithm, as in AlphaFold: a letter of probability 0 keeps a finite logit.
EPSILON = np.float32(1e-10)


class RandomNumbers(Protocol):
    """A source of random numbers: AlphaFold's generator for folding, numpy's, which is faster, for training."""

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Float32 numbers in [0, 1)."""
        ...

    def thresholds(self, count: int) -> NDArray[np.float64]:
        """Float64 numbers in [0, 1), one for each categorical draw."""
        ...

    def permutation(self, count: int) -> NDArray[np.int64]:
        """0 to count - 1 in random order."""
        ...


@dataclass(frozen=True)
class NumpyRandom:
    """Random numbers from a numpy generator."""

    random: np.random.Generator

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return self.random.random(shape, np.float32)

    def thresholds(self, count: int) -> NDArray[np.float64]:
        return self.random.random(count)

    def permutation(self, count: int) -> NDArray[np.int64]:
        return self.random.permutation(count)


@dataclass(frozen=True)
class MsaDraws:
    """The four random operations of one pass: cluster centres, masked positions, letters put there, extra rows."""

    clusters: RandomNumbers
    places: RandomNumbers
    letters: RandomNumbers
    extra: RandomNumbers

    @classmethod
    def of_pass(cls, seed: int, index: int, passes: int) -> "MsaDraws":
        """The draws of pass `index`, numbered as the random operations of AlphaFold's TensorFlow graph.

        With one pass, two random operations without effect come before these four in the graph; with several, the loop
        over passes is a graph of its own.
        """
        first = 2 if passes == 1 else 0
        return cls(*(RandomOperation(seed, first + k, index) for k in range(4)))

    @classmethod
    def of_generator(cls, random: np.random.Generator) -> "MsaDraws":
        """The draws of the next pass of a training sample."""
        return cls(*4 * [NumpyRandom(random)])


def choose_clusters(depth: int, config: MsaConfig, draw: RandomNumbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose cluster centres at random, the query first; return their row numbers and those of all other rows."""
    order = np.append(0, 1 + draw.permutation(depth - 1))
    return order[: config.max_clusters], order[config.max_clusters :]


def letter_frequencies(alignment: Alignment) -> NDArray[np.float32]:
    """Frequencies of the 20 amino acids, X and the gap in each column [i, 22]."""
    length = alignment.tokens.shape[1]
    cells = np.arange(length) * (GAP + 1) + alignment.tokens
    counts = np.bincount(cells.ravel(), minlength=length * (GAP + 1)).reshape(length, GAP + 1)
    return counts.astype(np.float32) / np.float32(alignment.depth)


def masked_positions(shape: tuple[int, ...], config: MsaConfig, draw: RandomNumbers) -> NDArray[np.bool_]:
    """Choose masked positions [s, i], including those whose letter BERT masking then leaves unchanged."""
    return draw.uniform(shape) < np.float32(config.mask_fraction)


def mask_letters(
    tokens: NDArray[np.int8],
    profile: NDArray[np.float32],
    masked: NDArray[np.bool_],
    config: MsaConfig,
    draw: RandomNumbers,
) -> NDArray[np.int8]:
    """Mask as BERT does: a letter becomes a random amino acid, one drawn from the profile, itself, or the mask token.

    tokens and masked [s, i]; profile [i, 22], of the whole alignment.
    """
    rows, places = np.nonzero(masked)
    chances = letter_chances(tokens[rows, places], profile[places], config)
    thresholds = draw.thresholds(tokens.size).reshape(tokens.shape)[rows, places]
    replaced = tokens.copy()
    replaced[rows, places] = _draw(np.log(chances + EPSILON).astype(np.float64), thresholds)
    return replaced


def letter_chances(tokens: NDArray[np.int8], profile: NDArray[np.float32], config: MsaConfig) -> NDArray[np.float32]:
    """Chances [n, 23] of what masked letters [n] become, the mask last; profile [n, 22] of their columns."""
    uniform = np.array([0.05] * 20 + [0, 0], np.float32)
    itself = np.eye(GAP + 1, dtype=np.float32)[tokens]
    mask_prob = 1 - config.profile_prob - config.same_prob - config.uniform_prob
    chances = np.full((len(tokens), MASK + 1), mask_prob, np.float32)
    chances[:, :MASK] = config.uniform_prob * uniform + config.profile_prob * profile + config.same_prob * itself
    return chances


def _draw(logits: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int8]:
    """Draw one class for each row of logits [n, 23] by inverse transform sampling."""
    cumulative = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    return (cumulative > (thresholds * cumulative[:, -1])[:, None]).argmax(axis=1).astype(np.int8)
