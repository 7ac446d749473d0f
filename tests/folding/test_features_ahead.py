"""Features made ahead are those that would have been made, and an error in them waits for its own job."""

import numpy as np
import pytest

from foldcli.compose import fold_config
from foldcli.data.query import Alignment, Query
from foldcli.folding import features_ahead
from foldcli.folding.features_ahead import FeaturesAhead, Wanted


def wanted(name: str, seed: int = 0) -> Wanted:
    rng = np.random.default_rng(len(name))
    rows = Alignment(rng.integers(0, 20, (9, 12)).astype(np.int8), np.zeros((9, 12), np.int32))
    return Wanted(Query(name, "", "ACDEFGHIKLMN", name, rows), fold_config("tiny", ["num_recycle=1"]), seed)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries whose passes are made, in order."""
    names: list[str] = []
    make = features_ahead.features_of_passes

    def noted(query: Query, *arguments: object) -> object:
        for one in make(query, *arguments):
            names.append(query.name)
            yield one

    monkeypatch.setattr(features_ahead, "features_of_passes", noted)
    return names


def test_the_first_features_of_the_next_are_made_after_the_last(made: list[str]) -> None:
    ahead, one, two = FeaturesAhead(), wanted("a"), wanted("bb")
    for _ in zip(range(2), ahead.of(one, two)):  # noqa: B905  as recycling that ends early does
        pass
    assert made == ["a", "a"]
    assert len(list(ahead.of(one, two))) == 2 and made == ["a", "a", "a", "a", "bb"]
    found = list(ahead.of(two, None))
    assert made[5:] == ["bb"]
    for given, expected in zip(found, two.make(), strict=True):
        assert (given.msa_feat == expected.msa_feat).all() and (given.extra_msa == expected.extra_msa).all()


def test_those_of_another_job_or_seed_are_not_taken(made: list[str]) -> None:
    ahead, one, two = FeaturesAhead(), wanted("a"), wanted("bb")
    list(ahead.of(one, two))
    assert len(list(ahead.of(Wanted(two.query, two.config, 1), None))) == 2 and made[3:] == ["bb", "bb"]
    list(ahead.of(one, two))
    assert len(list(ahead.of(wanted("bb"), None))) == 2  # another query of the same name


def test_what_cannot_be_made_fails_where_it_is_needed() -> None:
    ahead, one = FeaturesAhead(), wanted("a")
    bad = Wanted(Query("bad", "", "AB", "bad"), one.config, 0)
    assert len(list(ahead.of(one, bad))) == 2
    with pytest.raises(KeyError):
        list(ahead.of(bad, None))
