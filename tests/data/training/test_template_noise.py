"""A weakened template is truncated or has residues on wrong columns; a nearly true one is the chain, moved a little."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foldcli.data.chain import Chain, Template
from foldcli.data.training.template_noise import NOISE, nearly_true, weaken
from foldcli.protein.residues import GAP


@given(st.lists(st.integers(0, GAP), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_residues_keep_their_atoms_and_are_cut_or_moved(types: list[int], seed: int) -> None:
    aatype = np.array(types, np.int8)
    there = aatype != GAP
    positions = np.zeros((len(types), 37, 3), np.float32)
    positions[:, 1, 0] = (1 + np.arange(len(types))) * there
    template = Template("1ABC_A", aatype, positions, np.repeat(there[:, None], 37, axis=1))
    found = weaken(template, np.random.default_rng(seed))
    columns = np.flatnonzero(found.aatype != GAP)
    origin = np.rint(found.positions[columns, 1, 0]).astype(int) - 1
    assert found.mask[:, 1].tolist() == (found.aatype != GAP).tolist()
    assert (found.aatype[columns] == aatype[origin]).all()
    assert len(set(origin.tolist())) == len(origin)
    assert (origin == columns).all() or len(columns) == there.sum()
    assert len(columns) >= min(there.sum(), 1)


def test_both_ways_come_up() -> None:
    types = np.arange(20, dtype=np.int8).repeat(3)
    template = Template("1ABC_A", types, np.zeros((60, 37, 3), np.float32), np.ones((60, 37), np.bool_))
    random = np.random.default_rng(0)
    drawn = [weaken(template, random) for _ in range(40)]
    cut = [one for one in drawn if (one.aatype == GAP).any()]
    shifted = [one for one in drawn if not (one.aatype == GAP).any() and (one.aatype != types).any()]
    assert len(cut) > 10 and len(shifted) > 10


def test_nearly_true_moves_residues_as_a_whole() -> None:
    random = np.random.default_rng(0)
    mask = np.zeros((9, 37), np.bool_)
    mask[:, :5] = True
    chain = Chain("1ABC_A", "ACDEFGHIX", random.normal(size=(9, 37, 3)).astype(np.float32) * mask[..., None], mask)
    found = nearly_true(chain, random)
    moved = (found.positions - chain.positions)[:, :5]
    assert found.aatype.tolist() == [0, 4, 3, 6, 13, 7, 8, 9, 20]
    assert np.allclose(moved, moved[:, :1], atol=1e-6) and 0 < np.abs(moved).max() < 5 * NOISE
    assert not found.positions[:, 5:].any() and (found.mask == mask).all()
