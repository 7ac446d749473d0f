"""From a sequence and its alignment to what the model takes (Suppl. Sec. 1.2.7 to 1.2.9, Table 1)."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.config import MsaConfig
from foldcli.data.features.msa import MsaInput, SampledMsa, choose_msa_input, sample_msa
from foldcli.data.features.msa_clusters import summarize_clusters
from foldcli.data.features.msa_sampling import MsaDraws
from foldcli.data.query import Alignment, Query
from foldcli.model.features import Features
from foldcli.protein.residues import INDEX, MASK, UNKNOWN


def featurize(query: Query, config: MsaConfig, seed: int, passes: int) -> Iterator[Features]:
    """Features of each recycling pass, drawn anew for each and made when asked for.

    Same seed, same features as AlphaFold with the same number of passes. AlphaFold fills the rows up to the preset's
    largest number with masked ones; here there are as many rows as were chosen. That changes nothing: every operation
    either treats rows one by one, or weighs them by their mask (column attention, outer product mean), where a masked
    row counts exactly zero. Without rows for the extra stack there is one masked row, so that it has something to work
    on. Without an alignment the query stands alone, and is masked like any other row. A preset of one row, which is
    none of AlphaFold's, is shown an alignment as `choose_msa_input` says.
    """
    msa_input = choose_msa_input(query.sequence, query.alignment, None, config)
    for index in range(passes):
        rows = sample_msa(msa_input, config, MsaDraws.of_pass(seed, index, passes))
        yield make_features(query.sequence, msa_input, rows, slice(0, len(query.sequence)))


def make_features(sequence: str, msa_input: MsaInput, rows: SampledMsa, window: slice) -> Features:
    """The features of one pass in some of the columns, which keep their numbers in the whole sequence."""
    rows = rows.crop(window)
    extra = _extra_rows(rows)
    aatype = torch.tensor([INDEX[letter] for letter in sequence[window]])
    return Features(
        aatype=aatype,
        residue_index=torch.arange(window.start, window.stop),
        seq_mask=torch.ones(len(aatype)),
        # the first channel would mark a break between domains
        target_feat=torch.nn.functional.pad(torch.eye(UNKNOWN + 1)[aatype], (1, 0)),
        msa_feat=_msa_feat(rows, msa_input.columns[window] if msa_input.profile_only else None),
        msa_mask=torch.ones(rows.true_msa.shape),
        extra_msa=torch.from_numpy(extra.tokens.astype(np.int64)),
        extra_mask=torch.full(extra.tokens.shape, float(len(rows.extra) > 0)),
        extra_has_deletion=torch.from_numpy(_has_deletion(extra.deletions)),
        extra_deletion=torch.from_numpy(_squash(extra.deletions.astype(np.float32))),
    )


def _extra_rows(rows: SampledMsa) -> Alignment:
    if not len(rows.extra):
        blank = np.zeros((1, rows.true_msa.shape[1]))
        return Alignment(blank.astype(np.int8), blank.astype(np.int32))
    return rows.others.rows(rows.extra)


def _msa_feat(rows: SampledMsa, columns: NDArray[np.float32] | None) -> torch.Tensor:
    """Channels [s, i, 49]: letter (23), has a deletion, its length, the cluster's letters (23) and mean deletion.

    columns [i, 22]: the letters of the one cluster, where its rows are not there to be counted.
    """
    letters, deletions = summarize_clusters(rows.clusters, rows.others, rows.nearest)
    if columns is not None:
        letters = np.pad(columns, ((0, 0), (0, 1)))[None]
    channels = [
        np.eye(MASK + 1, dtype=np.float32)[rows.clusters.tokens],
        _has_deletion(rows.clusters.deletions)[..., None],
        _squash(rows.clusters.deletions.astype(np.float32))[..., None],
        letters,
        _squash(deletions)[..., None],
    ]
    return torch.from_numpy(np.concatenate(channels, axis=-1))


def _has_deletion(deletions: NDArray[np.int32]) -> NDArray[np.float32]:
    return (deletions > 0).astype(np.float32)


def _squash(deletions: NDArray[np.float32]) -> NDArray[np.float32]:
    """A count of deleted residues, laid into 0 to 1."""
    return np.arctan(deletions / np.float32(3)) * np.float32(2 / np.pi)
