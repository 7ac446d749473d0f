"""Assign MSA rows to their nearest cluster centres, and summarise clusters (Suppl. Sec. 1.2.7, items 3 and 4)."""

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, MASK

# Letters compared at a time, which bounds the memory: the product needs 21 floats for each.
LETTERS_AT_ONCE = 2**19


def nearest_clusters(clusters: NDArray[np.int8], others: NDArray[np.int8]) -> NDArray[np.int64]:
    """The cluster centre with most identical letters for each row, the first of equals; gaps and masks match nothing.

    clusters [s, i], masked; others [e, i]. Returns [e].
    """
    if not len(others):
        return np.zeros(0, np.int64)
    length = clusters.shape[1]
    centres = _one_hot(clusters).T.contiguous()
    # float32 holds counts exactly up to 2**24
    nearest = [(_one_hot(others[part]) @ centres).argmax(dim=1) for part in _parts(len(others), length)]
    return torch.cat(nearest).numpy()


def _parts(rows: int, length: int) -> list[slice]:
    step = max(1, LETTERS_AT_ONCE // length)
    return [slice(k, k + step) for k in range(0, rows, step)]


def _one_hot(tokens: NDArray[np.int8]) -> torch.Tensor:
    letters = torch.arange(GAP, dtype=torch.int8)
    return (torch.from_numpy(tokens)[..., None] == letters).flatten(1).float()


def summarize_clusters(
    clusters: Alignment, others: Alignment, nearest: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Average letters [s, i, 23] and deletions [s, i] over each cluster, its centre included."""
    depth, length = clusters.tokens.shape
    members = np.bincount(nearest, minlength=depth).astype(np.float32)
    # 1e-6 as in AlphaFold
    count = (np.float32(1e-6) + np.float32(1) + members)[:, None]

    letters = np.eye(MASK + 1, dtype=np.float32)[clusters.tokens]
    for part in _parts(others.depth, length):
        cells = (nearest[part, None] * length + np.arange(length)) * (MASK + 1) + others.tokens[part]
        np.add.at(letters.reshape(-1), cells, np.float32(1))

    deletions = torch.from_numpy(clusters.deletions.copy())
    deletions.index_add_(0, torch.from_numpy(nearest), torch.from_numpy(others.deletions))
    return letters / count[..., None], deletions.numpy().astype(np.float32) / count
