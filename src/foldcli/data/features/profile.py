"""The sequence profile of an alignment, for models that take it instead of rows."""

import numpy as np
from numpy.typing import NDArray

from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, LETTERS


def amino_acid_profile(alignment: Alignment) -> NDArray[np.float32]:
    """Weighted frequencies of the 20 amino acids in each column [i, 20], without gaps; uniform in an empty column.

    Rows have position-based weights (Henikoff and Henikoff 1994): in each column every amino acid present shares the
    same weight among the rows that have it, and a row's weight is the mean over its letters, as in HMMER, so that
    fragments count too.
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
    """Sum the rows' weights by column and amino acid [i, 20]."""
    length = cells.shape[1]
    summed = np.bincount(cells.ravel(), np.repeat(weights, length), minlength=length * (GAP + 1)).astype(np.float64)
    return summed.reshape(length, GAP + 1)[:, : len(LETTERS)]
