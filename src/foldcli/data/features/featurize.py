"""Turn a sequence and its alignment into the model's input features (Suppl. Sec. 1.2.7 to 1.2.9, Table 1)."""

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
    extra = _extra_rows(rows)
    aatype = torch.tensor([INDEX[letter] for letter in sequence[window]])
    return Features(
        aatype=aatype,
        residue_index=torch.arange(window.start, window.stop),
        seq_mask=torch.ones(len(aatype)),
        # the first channel marks a break between domains, of which there is none here
        target_feat=torch.nn.functional.pad(torch.eye(UNKNOWN + 1)[aatype], (1, 0)),
        msa_feat=_msa_feat(rows, msa_input.profile[window] if msa_input.profile_only else None),
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


def _msa_feat(rows: SampledMsa, profile: NDArray[np.float32] | None) -> torch.Tensor:
    """msa_feat [s, i, 49]: letter (23), has_deletion, deletion value, cluster profile (23), mean deletion.

    profile [i, 22]: replaces the profile of the only cluster where its rows are not known.
    """
    letters, deletions = summarize_clusters(rows.clusters, rows.others, rows.nearest)
    if profile is not None:
        letters = np.pad(profile, ((0, 0), (0, 1)))[None]
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
    """Map a number of deleted residues to 0..1."""
    return np.arctan(deletions / np.float32(3)) * np.float32(2 / np.pi)
