"""Features of complexes equal DeepMind's, random draws included (tests/golden/make_complex_features.py)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.config import MsaConfig
from foldcli.data.features import merge
from foldcli.data.features.complexes import chain_features, featurize_complex
from foldcli.data.features.merge import merged_alignment
from foldcli.data.features.threefry import threefry
from foldcli.data.formats.alignment import read_alignments
from foldcli.data.formats.attach import attach_alignments
from foldcli.data.query import Query, lengths_of
from foldcli.protein.residues import GAP

GOLDEN = Path(__file__).parents[2] / "golden" / "complex_features"
CONFIG = MsaConfig(max_clusters=16, max_extra=24)
SEQUENCES = {name: next(iter(read_alignments(GOLDEN / f"{name}.a3m"))) for name in "AB"}
# case: chains, rows that a chain may have, seed, passes
CASES = {
    "two": ("AB", 2048, 0, 2), "copies": ("AAB", 2048, 2**31 + 5, 1), "cropped": ("ABB", 30, 1, 1),
    "same": ("BB", 2048, 2, 1), "one": ("A", 2048, 3, 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def complexes(tmp_path_factory):
    """The complex of each case, with the alignments of its chains, which are paired by species."""
    found = {}
    for case, (chains, *_) in CASES.items():
        folder = tmp_path_factory.mktemp(case)
        for name in set(chains):
            stem = f"q_{'ABC'[chains.index(name)]}" if len(chains) > 1 else "q"
            (folder / f"{stem}.a3m").write_text((GOLDEN / f"{name}.a3m").read_text())
        sequences = [SEQUENCES[name] for name in chains]
        query = Query("q", "q", "".join(sequences), "q", chain_lengths=lengths_of(sequences))
        (found[case],) = attach_alignments([query], folder)
    return found


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "features.npz") as saved:
        return {key: saved[key] for key in saved.files}


@pytest.fixture
def cropped(request, monkeypatch):
    """The case, with as many rows of a chain as it allows."""
    most = CASES[request.param][1]
    monkeypatch.setattr(merge, "MOST_ROWS", most)
    monkeypatch.setattr(merge, "MOST_PAIRED", most // 2)
    return request.param


@pytest.mark.parametrize("cropped", CASES, indirect=True)
def test_merged_alignments_are_deepminds(complexes, golden, cropped):
    query = complexes[cropped]
    alignment = merged_alignment(query)
    expected = {name.split("/")[1]: array for name, array in golden.items() if name.startswith(f"{cropped}/")}
    depth = alignment.depth
    assert np.array_equal(alignment.tokens, expected["msa"][:depth])
    assert np.array_equal(alignment.deletions, expected["deletion_matrix"][:depth])
    # DeepMind pads to 512 rows with zeros
    assert not expected["msa"][depth:].any()
    # only the first row is always drawn
    assert np.flatnonzero(expected["cluster_bias_mask"]).tolist() == [0]
    numbers = chain_features(query)
    for name in ("asym", "entity", "sym"):
        assert np.array_equal(getattr(numbers, name).numpy(), expected[f"{name}_id"])


@pytest.mark.parametrize("cropped", CASES, indirect=True)
def test_features_of_each_pass_are_deepminds(complexes, golden, cropped):
    _, _, seed, passes = CASES[cropped]
    made = list(featurize_complex(complexes[cropped], CONFIG, seed, passes, "unpaired_paired"))
    assert len(made) == passes
    for number, features in enumerate(made):
        expected = golden[f"{cropped}/msa_feat"][number]
        np.testing.assert_allclose(features.msa_feat.numpy(), expected, rtol=0, atol=5e-7)
        expected, mask = golden[f"{cropped}/extra"][number], golden[f"{cropped}/extra_mask"][number]
        there = len(features.extra_msa)
        assert np.array_equal(features.extra_mask.numpy(), mask[:there])
        assert not mask[there:].any()
        letters = torch.nn.functional.one_hot(features.extra_msa, 23).numpy()
        assert np.array_equal(letters * mask[:there, :, None], expected[:there, :, :23] * mask[:there, :, None])
        assert np.array_equal(features.extra_has_deletion.numpy(), expected[:there, :, 23])
        np.testing.assert_allclose(features.extra_deletion.numpy(), expected[:there, :, 24], rtol=0, atol=2e-7)
        assert np.array_equal(features.residue_index.numpy(), golden[f"{cropped}/residue_index"])
        assert np.array_equal(features.target_feat.numpy(), np.eye(21)[golden[f"{cropped}/aatype"]])


def test_chains_stay_in_the_order_of_the_query(complexes):
    query = complexes["copies"]
    first, second = len(SEQUENCES["A"]), len(SEQUENCES["B"])
    mixed = SEQUENCES["A"] + SEQUENCES["B"] + SEQUENCES["A"]
    mixed = replace(query, sequence=mixed, chain_lengths=(first, second, first))
    moved = np.r_[:first, 2 * first : 2 * first + second, first : 2 * first]
    assert np.array_equal(merged_alignment(mixed).tokens, merged_alignment(query).tokens[:, moved])
    numbers = chain_features(mixed)
    starts = [0, first, first + second]
    assert [numbers.asym[starts].tolist(), numbers.entity[starts].tolist(), numbers.sym[starts].tolist()] == [
        [1, 2, 3], [1, 2, 1], [1, 1, 2],
    ]  # fmt: skip


def test_pair_modes(complexes):
    query = complexes["two"]
    both, paired, unpaired = (merged_alignment(query, mode) for mode in ("unpaired_paired", "paired", "unpaired"))
    assert paired.depth == query.msas[0].paired.depth
    assert np.array_equal(both.tokens[: paired.depth], paired.tokens)
    # the query, then each sequence's own rows, with gaps in the other chain
    own = [one.unpaired.depth - 1 for one in query.msas]
    assert unpaired.depth == 1 + sum(own)
    length = len(SEQUENCES["A"])
    assert (unpaired.tokens[1 : 1 + own[0], length:] == GAP).all()
    assert (unpaired.tokens[1 + own[0] :, :length] == GAP).all()


def test_a_complex_without_alignments_is_its_sequences(complexes):
    query = replace(complexes["copies"], msas=())
    (features,) = featurize_complex(query, MsaConfig(mask_fraction=0), 0, 1, "unpaired_paired")
    assert features.msa_feat.shape == (1, len(query.sequence), 49)
    assert torch.equal(features.msa_feat[0, :, :21], features.target_feat)
    assert not features.extra_mask.any()


def test_threefry_gives_the_published_numbers():
    # known answers published with the generator (Random123): zeros, ones, and the digits of pi
    known = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, expected in known:
        assert threefry(np.array(key, np.uint32), *np.array(counter, np.uint32)[:, None]) == expected
