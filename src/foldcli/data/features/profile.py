"""An alignment as frequencies alone: what a model of one row is told of it."""

import numpy as np
from numpy.typing import NDArray

from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, LETTERS


def frequencies(alignment: Alignment) -> NDArray[np.float32]:
    """How often each of the 20 amino acids stands in each column [i, 20], gaps left out; even where none stands.

    Rows count by how much they differ from the others: each column gives the same weight to every amino acid in it, to
    be shared by the rows that have it, and a row's weight is the mean over its letters (Henikoff and Henikoff 1994,
    "Position-based sequence weights"; the mean as in HMMER, so that fragments count too).
    """
    cells = np.arange(alignment.tokens.shape[1]) * (GAP + 1) + alignment.tokens
    counts = _amino_acids(cells, np.ones(alignment.depth))
    shares = np.divide(1, counts * (counts > 0).sum(axis=1, keepdims=True), where=counts > 0, out=np.zeros_like(counts))
    of_rows = np.pad(shares, ((0, 0), (0, GAP + 1 - len(LETTERS)))).ravel()[cells]
    weights = of_rows.sum(axis=1) / np.maximum((of_rows > 0).sum(axis=1), 1)
    weighted = _amino_acids(cells, weights)
    weighted[~weighted.any(axis=1)] = 1
    return (weighted / weighted.sum(axis=1, keepdims=True)).astype(np.float32)


def _amino_acids(cells: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the rows' weights by column and amino acid [i, 20]."""
    length = cells.shape[1]
    summed = np.bincount(cells.ravel(), np.repeat(weights, length), minlength=length * (GAP + 1)).astype(np.float64)
    return summed.reshape(length, GAP + 1)[:, : len(LETTERS)]
