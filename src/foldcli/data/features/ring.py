"""Relative positions around the ring of a cyclic peptide (Rettie et al. 2025, doi:10.1038/s41467-025-59940-7)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from foldcli.model.features import Features


def in_ring(passes: Iterable[Features]) -> Iterator[Features]:
    """The features of each pass, of a chain whose last residue is bonded to its first."""
    for features in passes:
        yield replace(features, ring_offsets=ring_offsets(features.residue_index))


def ring_offsets(residue_index: torch.Tensor) -> torch.Tensor:
    """[i, j]: i - j by the shorter way around the ring, negative backwards; halfway round it is i - j."""
    length = len(residue_index)
    offset = residue_index[:, None] - residue_index[None, :]
    around = offset - length * offset.sign()
    return torch.where(around.abs() < offset.abs(), around, offset)
