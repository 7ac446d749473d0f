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


def _one_hot(tokens: NDArray[np.int8], kinds: int = GAP) -> torch.Tensor:
    letters = torch.arange(kinds, dtype=torch.int8)
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


def summarize_shared_clusters(
    clusters: Alignment, others: Alignment
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As `summarize_clusters`, the way of AlphaFold-Multimer (`nearest_neighbor_clusters`).

    A row is shared equally by all cluster centres that have the most letters of it, and counts as many times as it has
    columns, while the centre itself counts once.
    """
    depth, length = clusters.tokens.shape
    letters = torch.from_numpy(np.eye(MASK + 1, dtype=np.float32)[clusters.tokens]).flatten(1)
    deletions, count = torch.from_numpy(clusters.deletions.astype(np.float32)), torch.ones(depth)
    centres = _one_hot(clusters.tokens)
    for part in _parts(others.depth, length):
        agreement = centres @ _one_hot(others.tokens[part]).T
        nearest = (agreement == agreement.amax(dim=0)).float()
        shares = nearest / nearest.sum(dim=0) * length
        count += shares.sum(dim=1)
        letters += shares @ _one_hot(others.tokens[part], MASK + 1)
        deletions += shares @ torch.from_numpy(others.deletions[part].astype(np.float32))
    letters = letters.reshape(depth, length, -1)
    return (letters / count[:, None, None]).numpy(), (deletions / count[:, None]).numpy()
