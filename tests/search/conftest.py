"""The golden chains, and a small library made of them."""

from pathlib import Path

import pytest

from foldcli.search.chains import KnownChain, read_chains
from foldcli.search.library import Library, write_library

SHARD = Path(__file__).parents[1] / "golden" / "chains.npz"


@pytest.fixture(scope="session")
def chains() -> list[KnownChain]:
    return read_chains([SHARD])


@pytest.fixture(scope="session")
def library(chains: list[KnownChain], tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = tmp_path_factory.mktemp("library") / "library.npz"
    write_library(path, chains, (), 10**6)
    return Library(path)
