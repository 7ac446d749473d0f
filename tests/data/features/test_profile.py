"""The profile of an alignment, and the features of a model of one row."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foldcli.config import MsaConfig
from foldcli.data.features.featurize import featurize
from foldcli.data.features.profile import amino_acid_profile
from foldcli.data.query import Alignment, Query
from foldcli.protein.residues import GAP, INDEX, UNKNOWN


def aligned(*rows: str) -> Alignment:
    tokens = np.array([[GAP if letter == "-" else INDEX[letter] for letter in row] for row in rows], np.int8)
    return Alignment(tokens, np.ones(tokens.shape, np.int32))


def test_rows_alike_share_their_weight():
    # by hand: (1/4 + 1/3) / 2 for each of the first two rows, (1/2 + 1/3 + 1) / 3 for the third
    found = amino_acid_profile(aligned("AA--", "AAX-", "RAC-"))
    np.testing.assert_allclose(found[0, :2], [42 / 86, 44 / 86], rtol=1e-6)
    assert found[1, 0] == 1
    assert found[2, INDEX["C"]] == 1
    np.testing.assert_allclose(found[3], 1 / 20)


@given(arrays(np.int8, (4, 5), elements=st.integers(0, GAP)))
def test_frequencies_sum_to_one_and_do_not_change_when_all_rows_are_doubled(tokens):
    deletions = np.zeros((8, 5), np.int32)
    once = amino_acid_profile(Alignment(tokens, deletions[:4]))
    np.testing.assert_allclose(once.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(amino_acid_profile(Alignment(np.tile(tokens, (2, 1)), deletions)), once, atol=1e-6)
    seen = (tokens[:, :, None] == np.arange(UNKNOWN)).any(axis=0)
    assert ((once > 0) == (seen | ~seen.any(axis=1, keepdims=True))).all()


def test_model_of_one_row_sees_frequencies_and_no_deletions():
    alignment = aligned("AC", "A-", "RC")
    config = MsaConfig(max_clusters=1, max_extra=1, mask_fraction=0.0)
    (features,) = featurize(Query("q", "q", "AC", "q", alignment), config, 0, 1)
    assert torch.equal(features.msa_feat[0, :, 25:45], torch.from_numpy(amino_acid_profile(alignment)))
    assert not features.msa_feat[0, :, 23:25].any() and not features.msa_feat[0, :, 45:].any()
    assert not features.extra_mask.any()
