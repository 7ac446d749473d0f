"""Which rows of an alignment the model sees, and which letters are hidden from it (Suppl. Sec. 1.2.6 and 1.2.7)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foldcli.config import MsaConfig
from foldcli.data.features.philox import RandomOperation
from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, MASK

# Below the logarithm of a probability, as in AlphaFold: a letter that is never drawn keeps a finite logit.
EPSILON = np.float32(1e-10)


class RandomNumbers(Protocol):
    """Where random numbers come from: AlphaFold's own when folding, numpy's, which are quicker made, when training."""

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Numbers from 0 up to 1."""
        ...

    def thresholds(self, count: int) -> NDArray[np.float64]:
        """Numbers from 0 up to 1, for draws of one class among several."""
        ...

    def permutation(self, count: int) -> NDArray[np.int64]:
        """0 to count - 1 in random order."""
        ...


@dataclass(frozen=True)
class NumpyRandom:
    """Numbers from one of numpy's generators."""

    random: np.random.Generator

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return self.random.random(shape, np.float32)

    def thresholds(self, count: int) -> NDArray[np.float64]:
        return self.random.random(count)

    def permutation(self, count: int) -> NDArray[np.int64]:
        return self.random.permutation(count)


@dataclass(frozen=True)
class MsaDraws:
    """The four random operations of one pass: choice of clusters, masked places, letters put there, extra rows."""

    clusters: RandomNumbers
    places: RandomNumbers
    letters: RandomNumbers
    extra: RandomNumbers

    @classmethod
    def of_pass(cls, seed: int, index: int, passes: int) -> "MsaDraws":
        """The draws of pass `index`, numbered as AlphaFold's graph numbers them.

        Two draws that change nothing come before these four in the graph; a loop over passes is a graph of its own.
        """
        first = 2 if passes == 1 else 0
        return cls(*(RandomOperation(seed, first + k, index) for k in range(4)))

    @classmethod
    def of_generator(cls, random: np.random.Generator) -> "MsaDraws":
        """The draws of a training sample's next pass."""
        return cls(*4 * [NumpyRandom(random)])


def choose_clusters(depth: int, config: MsaConfig, draw: RandomNumbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of the cluster centres, the query first, and of all other rows."""
    order = np.append(0, 1 + draw.permutation(depth - 1))
    return order[: config.max_clusters], order[config.max_clusters :]


def letter_frequencies(alignment: Alignment) -> NDArray[np.float32]:
    """How often each of the 20 amino acids, X and the gap stands in each column [i, 22]."""
    length = alignment.tokens.shape[1]
    cells = np.arange(length) * (GAP + 1) + alignment.tokens
    counts = np.bincount(cells.ravel(), minlength=length * (GAP + 1)).reshape(length, GAP + 1)
    return counts.astype(np.float32) / np.float32(alignment.depth)


def masked_positions(shape: tuple[int, ...], config: MsaConfig, draw: RandomNumbers) -> NDArray[np.bool_]:
    """Where letters are hidden [s, i]: those that BERT leaves as they are count as well."""
    return draw.uniform(shape) < np.float32(config.mask_fraction)


def mask_letters(
    tokens: NDArray[np.int8],
    columns: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    config: MsaConfig,
    draw: RandomNumbers,
) -> NDArray[np.int8]:
    """Replace letters as BERT does: by any amino acid, by one of the column, by itself or by a mask.

    tokens and hidden places [s, i]; columns: the profile [i, 22] before sampling.
    """
    rows, places = np.nonzero(hidden)
    uniform = np.array([0.05] * 20 + [0, 0], np.float32)
    itself = np.eye(GAP + 1, dtype=np.float32)[tokens[rows, places]]
    masked = 1 - config.profile_prob - config.same_prob - config.uniform_prob
    chances = np.full((len(rows), MASK + 1), masked, np.float32)
    chances[:, :MASK] = (
        config.uniform_prob * uniform + config.profile_prob * columns[places] + config.same_prob * itself
    )

    thresholds = draw.thresholds(tokens.size).reshape(tokens.shape)[rows, places]
    replaced = tokens.copy()
    replaced[rows, places] = _draw(np.log(chances + EPSILON).astype(np.float64), thresholds)
    return replaced


def _draw(logits: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int8]:
    """One class of each row of logits [n, 23], by the inverse of its cumulative distribution."""
    cumulative = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    return (cumulative > (thresholds * cumulative[:, -1])[:, None]).argmax(axis=1).astype(np.int8)
