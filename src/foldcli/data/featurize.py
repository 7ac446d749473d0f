"""From a sequence and its alignment to what the model takes (Suppl. Sec. 1.2.7 to 1.2.9, Table 1)."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.config import MsaConfig
from foldcli.data.clusters import nearest_clusters, summarize_clusters
from foldcli.data.philox import RandomOperation
from foldcli.data.query import Alignment, Query
from foldcli.data.sampling import Draws, choose_clusters, hide_letters, profile
from foldcli.model.features import Features
from foldcli.protein.residues import INDEX, MASK, UNKNOWN


def featurize(query: Query, config: MsaConfig, seed: int, passes: int) -> Iterator[Features]:
    """Features of each recycling pass, drawn anew for each and made when asked for.

    Same seed, same features as AlphaFold with the same number of passes. AlphaFold fills the rows up to the preset's
    largest number with masked ones; here there are as many rows as were chosen. That changes nothing: every operation
    either treats rows one by one, or weighs them by their mask (column attention, outer product mean), where a masked
    row counts exactly zero. Without rows for the extra stack there is one masked row, so that it has something to work
    on. Without an alignment the query stands alone, and is masked like any other row.
    """
    alignment = query.alignment or single_sequence(query.sequence)
    columns = profile(alignment)
    for index in range(passes):
        yield _one_pass(query.sequence, alignment, columns, config, Draws.of_pass(seed, index, passes))


def single_sequence(sequence: str) -> Alignment:
    """The alignment of a sequence with nothing but itself."""
    tokens = np.array([[INDEX[letter] for letter in sequence]], np.int8)
    return Alignment(tokens, np.zeros(tokens.shape, np.int32))


def _one_pass(
    sequence: str, alignment: Alignment, columns: NDArray[np.float32], config: MsaConfig, draws: Draws
) -> Features:
    chosen, rest = choose_clusters(alignment.depth, config, draws.clusters)
    clusters, others = _rows(alignment, chosen), _rows(alignment, rest)
    hidden = hide_letters(clusters.tokens, columns, config, draws.places, draws.letters)
    clusters = Alignment(hidden, clusters.deletions)
    extra = _extra_rows(others, config, draws.extra)
    aatype = torch.from_numpy(single_sequence(sequence).tokens[0].astype(np.int64))
    return Features(
        aatype=aatype,
        residue_index=torch.arange(len(sequence)),
        seq_mask=torch.ones(len(sequence)),
        # the first channel would mark a break between domains
        target_feat=torch.nn.functional.pad(torch.eye(UNKNOWN + 1)[aatype], (1, 0)),
        msa_feat=_msa_feat(clusters, others),
        msa_mask=torch.ones(clusters.tokens.shape),
        extra_msa=torch.from_numpy(extra.tokens.astype(np.int64)),
        extra_mask=torch.full(extra.tokens.shape, float(len(rest) > 0)),
        extra_has_deletion=torch.from_numpy(_has_deletion(extra.deletions)),
        extra_deletion=torch.from_numpy(_squash(extra.deletions.astype(np.float32))),
    )


def _rows(alignment: Alignment, numbers: NDArray[np.int64]) -> Alignment:
    return Alignment(alignment.tokens[numbers], alignment.deletions[numbers])


def _extra_rows(others: Alignment, config: MsaConfig, draw: RandomOperation) -> Alignment:
    if not others.depth:
        blank = np.zeros((1, others.tokens.shape[1]))
        return Alignment(blank.astype(np.int8), blank.astype(np.int32))
    return _rows(others, draw.permutation(others.depth)[: config.max_extra])


def _msa_feat(clusters: Alignment, others: Alignment) -> torch.Tensor:
    """Channels [s, i, 49]: letter (23), has a deletion, its length, the cluster's letters (23) and mean deletion."""
    letters, deletions = summarize_clusters(clusters, others, nearest_clusters(clusters.tokens, others.tokens))
    channels = [
        np.eye(MASK + 1, dtype=np.float32)[clusters.tokens],
        _has_deletion(clusters.deletions)[..., None],
        _squash(clusters.deletions.astype(np.float32))[..., None],
        letters,
        _squash(deletions)[..., None],
    ]
    return torch.from_numpy(np.concatenate(channels, axis=-1))


def _has_deletion(deletions: NDArray[np.int32]) -> NDArray[np.float32]:
    return (deletions > 0).astype(np.float32)


def _squash(deletions: NDArray[np.float32]) -> NDArray[np.float32]:
    """A count of deleted residues, laid into 0 to 1."""
    return np.arctan(deletions / np.float32(3)) * np.float32(2 / np.pi)
