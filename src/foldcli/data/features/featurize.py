"""Turn a sequence and its alignment into the model's input features (Suppl. Sec. 1.2.7 to 1.2.9, Table 1)."""

from collections.abc import Iterator
from dataclasses import replace

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
    """Make the features of each recycling pass lazily, sampling the MSA anew for each.

    The same seed and number of passes give the same features as AlphaFold. AlphaFold pads the MSA to the preset's
    maximum with masked rows; here it has as many rows as were chosen. Results are the same: every operation treats rows
    one by one, or weights them by their mask (column attention, outer product mean), so that padding counts zero.
    Without extra rows there is one masked row, so that the extra MSA stack has an input. Without an alignment the query
    is the only row, and masked like any other. For presets of one row see `choose_msa_input`.
    """
    msa_input = choose_msa_input(query.sequence, query.alignment, None, config)
    for index in range(passes):
        rows = sample_msa(msa_input, config, MsaDraws.of_pass(seed, index, passes))
        yield make_features(query.sequence, msa_input, rows, slice(0, len(query.sequence)))


def make_features(sequence: str, msa_input: MsaInput, rows: SampledMsa, window: slice) -> Features:
    """Make the features of one pass within a window; residue_index counts in the whole sequence."""
    rows = rows.crop(window)
    letters, deletions = summarize_clusters(rows.clusters, rows.others, rows.nearest)
    if msa_input.profile_only:  # replaces that of the only cluster, whose rows are not known
        letters = np.pad(msa_input.profile[window], ((0, 0), (0, 1)))[None]
    features = features_of_rows(sequence[window], rows.clusters, letters, deletions, rows.others.rows(rows.extra))
    return replace(features, residue_index=torch.arange(window.start, window.stop))


def features_of_rows(
    sequence: str, clusters: Alignment, letters: NDArray[np.float32], deletions: NDArray[np.float32], extra: Alignment
) -> Features:
    """Make the features of one pass from its cluster centres, their means of letters and deletions, and extra rows.

    letters [s, i, 23] and deletions [s, i], as of `summarize_clusters`.
    """
    aatype = torch.tensor([INDEX[letter] for letter in sequence])
    shown = extra if extra.depth else _blank_row(len(sequence))
    return Features(
        aatype=aatype,
        residue_index=torch.arange(len(sequence)),
        seq_mask=torch.ones(len(aatype)),
        # the first channel marks a break between domains, of which there is none here
        target_feat=torch.nn.functional.pad(torch.eye(UNKNOWN + 1)[aatype], (1, 0)),
        msa_feat=_msa_feat(clusters, letters, deletions),
        msa_mask=torch.ones(clusters.tokens.shape),
        extra_msa=torch.from_numpy(shown.tokens.astype(np.int64)),
        extra_mask=torch.full(shown.tokens.shape, float(extra.depth > 0)),
        extra_has_deletion=torch.from_numpy(_has_deletion(shown.deletions)),
        extra_deletion=torch.from_numpy(_squash(shown.deletions.astype(np.float32))),
    )


def _blank_row(length: int) -> Alignment:
    blank = np.zeros((1, length))
    return Alignment(blank.astype(np.int8), blank.astype(np.int32))


def _msa_feat(clusters: Alignment, letters: NDArray[np.float32], deletions: NDArray[np.float32]) -> torch.Tensor:
    """msa_feat [s, i, 49]: letter (23), has_deletion, deletion value, cluster profile (23), mean deletion."""
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
    """Map a number of deleted residues to 0..1."""
    return np.arctan(deletions / np.float32(3)) * np.float32(2 / np.pi)
