"""Features equal DeepMind's, including random draws (tests/golden/make_features.py)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.config import MsaConfig
from foldcli.data.features.featurize import featurize
from foldcli.data.features.philox import RandomOperation, philox
from foldcli.data.formats.fasta import read_queries
from foldcli.data.query import Alignment, Query
from foldcli.protein.residues import LETTERS

GOLDEN = Path(__file__).parents[2] / "golden" / "features"
CONFIG = MsaConfig(max_clusters=16, max_extra=24)
# DeepMind's name: ours, where they differ.
RENAMED = {"extra_msa_mask": "extra_mask", "extra_deletion_value": "extra_deletion"}


@pytest.fixture(scope="module")
def query():
    (query,) = read_queries(GOLDEN / "alignment.a3m")
    return query


def cut(query: Query, rows: int) -> Query:
    return replace(query, alignment=Alignment(query.alignment.tokens[:rows], query.alignment.deletions[:rows]))


@pytest.mark.parametrize(
    ("case", "seed", "rows", "passes"),
    [("deep", 0, 120, 3), ("other_seed", 2**31 + 5, 120, 3), ("shallow", 1, 10, 2), ("one_pass", 3, 120, 1)],
)
def test_features_are_deepminds(query, case, seed, rows, passes):
    with np.load(GOLDEN / "features.npz") as saved:
        golden = {key.split("/")[1]: saved[key] for key in saved.files if key.startswith(f"{case}/")}
    made = list(featurize(cut(query, rows), CONFIG, seed, passes))

    assert len(made) == passes
    for name, expected in golden.items():
        assert len(expected) == passes
        for features, of_pass in zip(made, expected, strict=True):
            ours = getattr(features, RENAMED.get(name, name)).numpy()
            # DeepMind pads the MSA to its maximum with masked rows of zeros
            here, padding = of_pass[: len(ours)], of_pass[len(ours) :]
            assert not padding.any()
            if ours.dtype == np.float32:
                np.testing.assert_allclose(ours, here, rtol=0, atol=2e-7, err_msg=name)
            else:
                assert np.array_equal(ours, here), name


def test_same_seed_same_features_other_seed_other_features(query):
    first, again, other = (next(iter(featurize(query, CONFIG, seed, 2))) for seed in (5, 5, 6))
    assert torch.equal(first.msa_feat, again.msa_feat)
    assert torch.equal(first.extra_msa, again.extra_msa)
    assert not torch.equal(first.msa_feat, other.msa_feat)


def test_sequence_alone_has_its_own_row_and_one_masked_extra_row():
    sequence = LETTERS + "X"
    (features,) = featurize(Query("a", "a", sequence, "a"), MsaConfig(mask_fraction=0), 0, 1)
    assert features.aatype.tolist() == list(range(21))
    assert features.msa_feat.shape == (1, 21, 49)
    assert torch.equal(features.msa_feat[0, :, :21], torch.eye(21))
    assert torch.equal(features.target_feat[:, 1:], torch.eye(21))
    assert features.extra_msa.shape == (1, 21)
    assert not features.extra_mask.any()


def test_philox_gives_the_published_numbers():
    # known answers published with the generator (Random123): all zeros, and the digits of pi
    assert philox(0, 0, 0, 1).tolist() == [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]
    pi = philox(0x299F31D0_A4093822, 0x03707344_13198A2E, 0x85A308D3_243F6A88, 1)
    assert pi.tolist() == [[0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_permutation_has_each_number_once(count):
    assert sorted(RandomOperation(9, 1).permutation(count)) == list(range(count))
