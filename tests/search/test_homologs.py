"""Stored homologs are read back, and become templates of training chains."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldcli.config import SourceConfig
from foldcli.data.training.open_source import open_source
from foldcli.errors import InputError
from foldcli.protein.residues import CA
from foldcli.search.chains import KnownChain
from foldcli.search.hits import Hit
from foldcli.search.homologs import pack, read_homologs, spread, with_homologs, write_homologs
from foldcli.search.library import Library
from tests.search.conftest import SHARD

KNOWN = ["1ABC_A", "2DEF_B", "3GHI_C"]


@st.composite
def hits(draw: st.DrawFn) -> Hit:
    columns, places = (np.array(sorted(draw(st.sets(st.integers(0, 300), min_size=9, max_size=9)))) for _ in range(2))
    return Hit(draw(st.sampled_from(KNOWN)), columns, places, draw(st.floats(0, 1, width=32)), draw(st.floats(0, 10)))


@given(st.lists(st.lists(hits(), max_size=3), min_size=1, max_size=4))
def test_packed_hits_come_back(tmp_path_factory: pytest.TempPathFactory, found: list[list[Hit]]) -> None:
    path = tmp_path_factory.getbasetemp() / "relatives.npz"
    write_homologs(path, pack([str(k) for k in range(len(found))], KNOWN, found))
    homologs = read_homologs(path)
    for number, expected in enumerate(found):
        assert str(homologs.of(number)) == str(expected)
        assert len(homologs.of(number, 1.0)) == sum(hit.evalue <= 1 for hit in expected)


def test_ranked_hits_are_thinned_towards_the_end() -> None:
    ranked = [Hit(str(k), np.arange(9), np.arange(9), 0.3, float(k)) for k in range(100)]
    assert [hit.name for hit in spread(ranked)][::7] == ["0", "99"]
    assert len(spread(ranked)) == 8 and spread(ranked[:8]) == ranked[:8]


def test_a_loaded_chain_brings_its_relatives_as_templates(
    library: Library, chains: list[KnownChain], tmp_path: Path
) -> None:
    first, second, path = chains[0].name, chains[1].name, tmp_path / "relatives.npz"
    columns = np.arange(10, 30)
    found = [[Hit(second, columns, columns - 5, 0.4, 1e-9), Hit("9XYZ_Z", columns, columns, 0.4, 1e-8)]]
    found[0].append(Hit(chains[2].name, columns, columns, 0.2, 5.0))
    write_homologs(path, pack([first], [chain.name for chain in chains] + ["9XYZ_Z"], found))
    config = SourceConfig(shards=str(SHARD), relatives=str(path), library=str(library.path), exclude="")
    source = pickle.loads(pickle.dumps(with_homologs(open_source(config), config)))
    templates = source.load(0).templates
    assert [template.name for template in templates[:4]] == [second, chains[2].name]  # 9XYZ_Z is not in the library
    assert templates[0].mask[:, CA].sum() == 20
    assert not source.load(1).templates
    strict = SourceConfig(shards=str(SHARD), relatives=str(path), library=str(library.path), max_evalue=0.01)
    assert len(with_homologs(open_source(strict), strict).load(0).templates) == 1


def test_without_a_file_of_relatives_a_source_stays_as_it_is() -> None:
    config = SourceConfig(shards=str(SHARD))
    source = open_source(config)
    assert with_homologs(source, config) is source


def test_excluded_chains_are_not_learnt_from(chains: list[KnownChain], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(f"{chains[0].name}\n{chains[5].name}\n")
    source = open_source(SourceConfig(shards=str(SHARD), exclude=str(tmp_path / "names.txt")))
    assert len(source.entries) == len(chains) - 2 and source.dropped["excluded by name"] == 2
    assert chains[0].name not in {entry.name for entry in source.entries}


def test_another_file_is_refused() -> None:
    with pytest.raises(InputError, match=r"chains\.npz: not a file of relatives"):
        read_homologs(SHARD)
