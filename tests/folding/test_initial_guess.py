"""Positions of a structure file as the guess for the chains of a query."""

from pathlib import Path

import numpy as np
import pytest

from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.folding.initial_guess import InitialGuess
from foldcli.protein.residues import CA

COMPLEX = Path(__file__).parents[1] / "golden/complex.pdb"


def test_each_chain_takes_the_chain_of_its_sequence() -> None:
    guess = InitialGuess(COMPLEX)
    first, second = guess.chains
    swapped = Query("a", "a", second.sequence + first.sequence, "here", chain_lengths=(20, 19))
    expected = np.concatenate([second.positions[:, CA], first.positions[:, CA]])
    np.testing.assert_array_equal(guess.positions(swapped)[:, CA], expected)
    np.testing.assert_array_equal(
        guess.positions(Query("b", "b", second.sequence, "here"))[:, CA], second.positions[:, CA]
    )
    twice = Query("a", "a", 2 * first.sequence, "here", chain_lengths=(19, 19))
    with pytest.raises(InputError, match=r"chain A of a has 19 residues; of its chains there is complex_B of 20"):
        guess.positions(twice)
