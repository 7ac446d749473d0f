"""Chain shards: packed chains are read back, compressed or not, and a bare backbone gets O and CB."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from foldcli.config import SourceConfig
from foldcli.data.chain import Chain
from foldcli.data.formats.packed_atoms import MISSING, pack_atoms, unpack_atoms
from foldcli.data.query import Alignment
from foldcli.data.training.build_shard import weighted_profile
from foldcli.data.training.chain_source import Entry, filter_entries, sampling_weights
from foldcli.data.training.open_source import open_source
from foldcli.data.training.shards import PackedChain, ShardSource, pack_chain, write_shard
from foldcli.errors import InputError
from foldcli.geometry.atoms import frames_to_atoms, torsions_to_frames
from foldcli.geometry.rigid import Rigid, quaternion_to_rotation
from foldcli.protein.residues import ATOM37_MASK, CB, INDEX, LETTERS_X, O

GOLDEN = Path(__file__).parents[2] / "golden"


@st.composite
def chains(draw):
    sequence = draw(st.text(LETTERS_X, min_size=1, max_size=8))
    shape = len(sequence), 37
    possible = ATOM37_MASK[[INDEX[letter if letter != "X" else "A"] for letter in sequence]] > 0
    mask = draw(arrays.arrays(np.bool_, shape)) & possible
    positions = draw(arrays.arrays(np.float32, (*shape, 3), elements=st.floats(-99, 99, width=32)))
    return Chain(draw(st.text("AB1_", min_size=1)), sequence, positions * mask[..., None], mask, resolution=2.0)


def source(*files: Path, **settings: object) -> ShardSource:
    return ShardSource(SourceConfig(shards=":".join(map(str, files)), **settings), "train")


@given(made=st.lists(chains(), min_size=1, max_size=4))
def test_chains_come_back_from_the_file(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("shard") / "chains.npz"
    profiles = [np.random.default_rng(0).dirichlet(np.ones(20), len(chain.sequence)) for chain in made]
    packed = [pack_chain(chain, p.astype(np.float32), "2001-02-03") for chain, p in zip(made, profiles, strict=True)]
    write_shard(path, packed, list(range(len(made))))

    found = source(path, max_share=1.0)
    assert [(entry.name, entry.length) for entry in found.entries] == [
        (chain.name, len(chain.sequence)) for chain in made
    ]
    for k, (chain, profile) in enumerate(zip(made, profiles, strict=True)):
        read = found.load(k)
        assert (read.sequence, read.resolution, found.entries[k].released) == (chain.sequence, 2.0, "2001-02-03")
        assert np.array_equal(read.mask, chain.mask)
        moved = (read.positions - chain.positions)[chain.mask]
        assert np.ptp(moved, axis=0).max(initial=0) <= 0.0101 if len(moved) else True
        assert np.abs(read.profile - profile).max() < 0.02
        assert read.profile.sum(axis=1) == pytest.approx(1)


def ideal_chain(sequence: str) -> np.ndarray:
    """Residues with random torsions, joined by planar peptide bonds [i, 37, 3]."""
    generator = torch.Generator().manual_seed(0)
    aatype = torch.tensor([[INDEX[letter]] for letter in sequence])
    count, start, placed = len(sequence), torch.zeros(3), []
    angles = torch.rand(count, 1, 7, generator=generator) * 6.28
    turns = torch.nn.functional.normalize(torch.randn(count, 1, 4, generator=generator), dim=-1)
    for k in range(count):
        torsions = torch.stack([angles[k].sin(), angles[k].cos()], dim=-1)
        frames = torsions_to_frames(aatype[k], Rigid(quaternion_to_rotation(turns[k]), torch.zeros(1, 3)), torsions)
        atoms = frames_to_atoms(aatype[k], frames)[0]
        placed.append(atoms + (start - atoms[0]))
        # N of the next residue: 1.33 angstrom from C, in the plane of psi's frame, across from O
        turn = frames.rotation[0, 3]
        start = placed[-1][2] + turn @ torch.tensor([0.6, -1.19, 0.0])
    return torch.stack(placed).numpy()


def test_a_bare_backbone_gets_ideal_oxygens_and_betas():
    sequence = "ARNDCQEGHILKMFPSTWYV"
    positions = ideal_chain(sequence)
    mask = ATOM37_MASK[[INDEX[letter] for letter in sequence]] > 0
    backbone, others = pack_atoms(sequence, positions, mask)
    assert (others != MISSING).any(axis=-1).sum() == mask.sum() - 3 * len(sequence)
    read, present = unpack_atoms(sequence, backbone, None)
    assert present[:, O].tolist() == [True] * 19 + [False]
    assert np.array_equal(present[:, CB], mask[:, CB])
    assert not present[:, 5:].any()
    shift = positions[:, 1].mean(axis=0)
    assert np.abs(read + shift - positions)[present].max() < 0.03

    broken = backbone.copy()
    broken[10:] += 500
    assert np.flatnonzero(~unpack_atoms(sequence, broken, None)[1][:, O]).tolist() == [9, 19]


def test_real_chains_and_their_copy_without_names_of_clusters(tmp_path):
    train = source(GOLDEN / "chains.npz")
    both = source(GOLDEN / "chains.npz", GOLDEN / "chains_val.npz")
    assert (len(train.entries), len(both.entries)) == (8, 12)
    assert both.load(9).name == both.entries[9].name
    for k, entry in enumerate(train.entries):
        chain = train.load(k)
        assert entry.length == len(chain.sequence) == len(chain.positions)
        apart = np.linalg.norm(np.diff(chain.positions[:, 1], axis=0), axis=-1)
        assert apart.min() > 2.7 and apart.max() < 4.2

    plain = dict(np.load(GOLDEN / "chains.npz"))
    del plain["cluster"]
    np.savez_compressed(tmp_path / "a.npz", **plain)
    np.savez_compressed(tmp_path / "b.npz", **plain)
    packed = source(tmp_path / "a.npz", tmp_path / "b.npz")
    assert len({entry.cluster for entry in packed.entries}) == 16
    assert np.array_equal(packed.load(11).positions, train.load(3).positions)


def test_a_source_travels_without_its_chains(tmp_path):
    np.savez_compressed(tmp_path / "packed.npz", **np.load(GOLDEN / "chains.npz"))
    here = source(tmp_path / "packed.npz")
    there = pickle.loads(pickle.dumps(here))
    assert len(pickle.dumps(here)) < 1000
    assert there.entries == here.entries
    assert np.array_equal(there.load(7).profile, here.load(7).profile)
    assert isinstance(there._shards[0].arrays["backbone"], np.memmap)
    assert there._shards[0].copy == here._shards[0].copy


BAD = {
    "has no array 'profile'; make it": lambda plain: plain.pop("profile"),
    "'backbone' is int16 (10, 3, 3), expected int16 (714, 3, 3)": lambda plain: plain.update(
        backbone=plain["backbone"][:10]
    ),
    "'cluster' is float64 (8,), expected int32 (8,)": lambda plain: plain.update(cluster=plain["cluster"] / 2),
    "chain 2 has no residue": lambda plain: plain["lengths"].__setitem__(1, 0),
}


@pytest.mark.parametrize("message", BAD)
def test_arrays_that_do_not_fit_are_named(message, tmp_path):
    path, plain = tmp_path / "chains.npz", dict(np.load(GOLDEN / "chains.npz"))
    BAD[message](plain)
    np.savez(path, **plain)
    with pytest.raises(InputError) as error:
        source(path)
    assert str(error.value).startswith(f"'train.shards': {path}: {message}")


def test_a_file_that_is_no_shard_is_named(tmp_path):
    cut, whole = tmp_path / "cut.npz", (GOLDEN / "chains.npz").read_bytes()
    with pytest.raises(InputError, match=r"cut\.npz: no such file"):
        source(cut)
    for content in (whole[:9000], b"MKV", whole[:9000] + whole[9500:]):
        cut.write_bytes(content)
        with pytest.raises(InputError, match=r"cut\.npz: (is no whole|cannot be read)"):
            source(cut)


def test_a_corrupt_entry_is_named_and_others_are_read(tmp_path):
    plain = dict(np.load(GOLDEN / "chains.npz"))
    plain["sequence"][plain["lengths"][0] + 3] = b"#"
    np.savez(tmp_path / "chains.npz", **plain)
    found = source(tmp_path / "chains.npz")
    assert found.load(0).sequence
    with pytest.raises(InputError, match=r"chains\.npz: chain 2 \(.*\) has '#', which is no residue"):
        found.load(1)


def test_a_chain_that_is_too_long_is_refused():
    positions = np.zeros((2, 37, 3), np.float32)
    positions[1] = 700
    with pytest.raises(InputError, match="327 angstrom"):
        pack_atoms("AA", positions, np.ones((2, 37), np.bool_))


def test_filters_name_what_they_leave_out():
    kept = Entry("a", 100, 0, "2018-04-30", 9.0, 0.8)
    others = [
        dataclasses.replace(kept, released="2018-05-01"), dataclasses.replace(kept, released=""),
        dataclasses.replace(kept, resolution=9.01), dataclasses.replace(kept, share=0.81),
    ]  # fmt: skip
    taken, dropped = filter_entries([*others, kept], SourceConfig(max_date="2018-04-30"))
    assert taken == [4]
    assert dropped == {
        "released after 2018-04-30": 1, "without a release date": 1, "resolved to more than 9 angstrom": 1,
        "more than 80% of one kind of residue": 1,
    }  # fmt: skip
    assert len(filter_entries([*others, kept], SourceConfig())[0]) == 3


def test_large_clusters_and_short_chains_are_drawn_less():
    entries = [Entry("a", 100, 1), Entry("b", 384, 1), Entry("c", 600, 2), Entry("d", 256, 3)]
    assert sampling_weights(entries) == pytest.approx(np.array([1 / 4, 3 / 8, 1, 1 / 2]) / (17 / 8))


USAGE = {
    "'train.kind' is 'zip', expected chains or openfold": SourceConfig(kind="zip"),
    "'train.max_date' is '30.4.2018', expected YYYY-MM-DD": SourceConfig(max_date="30.4.2018"),
    "'train.shards' is empty": SourceConfig(),
    "'train.structures' is empty": SourceConfig(kind="openfold"),
    "'train.structures': nowhere: no such folder": SourceConfig(kind="openfold", structures="nowhere"),
    "'train': no chain is left: 8 without a release date": SourceConfig(
        shards=str(GOLDEN / "chains.npz"), max_date="2018-04-30"
    ),
}


@pytest.mark.parametrize("message", USAGE)
def test_a_source_that_cannot_be_opened_names_the_key(message):
    with pytest.raises(InputError) as error:
        open_source(USAGE[message])
    assert str(error.value).startswith(message)


def test_rows_alike_count_less_in_a_profile():
    """Two equal rows and a different one: the classic example of position-based weights."""
    tokens = np.array([[INDEX.get(x, 21) for x in row] for row in ("AAX", "AAX", "CA-")], np.int8)
    profile = weighted_profile(Alignment(tokens, np.zeros(tokens.shape, np.int32)))
    # column 1: A, A, C bring 1/4, 1/4, 1/2; column 2 brings 1/3 each
    row, own = 1 / 4 + 1 / 3, 1 / 2 + 1 / 3
    assert profile[0, [INDEX["A"], INDEX["C"]]] == pytest.approx(np.array([2 * row, own]) / (2 * row + own))
    assert profile[1, INDEX["A"]] == pytest.approx(1)
    assert not profile[2].any()


def test_a_position_of_which_nothing_is_known_is_evenly_spread(tmp_path):
    nothing = PackedChain("a", "X", np.zeros((1, 3, 3), np.int16), np.zeros((1, 20), np.uint8))
    write_shard(tmp_path / "a.npz", [nothing], [0])
    assert source(tmp_path / "a.npz", max_share=1.0).load(0).profile == pytest.approx(np.full((1, 20), 0.05))
