"""One pool of four gloo ranks for all tests."""

from collections.abc import Iterator

import pytest

from tests.parallel.rank_pool import RankPool


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RankPool]:
    pool = RankPool(4, tmp_path_factory.mktemp("ranks") / "rendezvous")
    yield pool
    pool.close()
