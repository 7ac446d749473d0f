"""A trace stores a backbone to a tenth of an angstrom, for any orientation and length of the chain."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foldcli.data.formats.packed_atoms import ANGSTROM
from foldcli.search.chains import KnownChain, read_chains
from foldcli.search.traces import STEP, decode, encode
from tests.search.conftest import SHARD

CHAINS = read_chains([SHARD])


@given(st.sampled_from(CHAINS), st.integers(0, 2**32 - 1))
def test_a_turned_chain_comes_back(chain: KnownChain, seed: int) -> None:
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))  # no mirror image: it would be another molecule
    true = chain.backbone / ANGSTROM @ rotation
    trace = encode(true)
    assert trace is not None
    found = decode(trace)
    found += (true - found)[:, 1].mean(axis=0)
    error = np.linalg.norm(found - true, axis=-1)
    assert error[:, 1].max() < STEP * 3**0.5  # half a step on each axis, and as much for the mean
    assert np.sqrt((error**2).mean()) < 0.13
    assert error.max() < 1
    bonds = np.linalg.norm(found[:, 1] - found[:, 0], axis=-1)
    np.testing.assert_allclose(bonds, 1.458, atol=0.02)


def test_a_chain_with_a_gap_has_no_trace() -> None:
    backbone = CHAINS[0].backbone / ANGSTROM
    backbone[20:] += 1.0
    assert encode(backbone) is None
