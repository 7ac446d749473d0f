"""A library takes one chain of each cluster before second ones, and returns chains as written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foldcli.cli.main import app
from foldcli.data.formats.packed_atoms import ANGSTROM
from foldcli.errors import InputError
from foldcli.protein.residues import CA, CB, GAP, INDEX
from foldcli.search.chains import KnownChain, read_chains
from foldcli.search.hits import Hit
from foldcli.search.library import Library, write_library
from tests.search.conftest import SHARD


def test_a_template_has_the_aligned_atoms_where_the_chain_has_them(library: Library, chains: list[KnownChain]) -> None:
    for chain in chains:
        columns = np.arange(3, 23)
        template = library.template(Hit(chain.name, columns, columns + 7, 1.0, 0.0), 30)
        assert np.flatnonzero(template.aatype != GAP).tolist() == columns.tolist()
        assert template.aatype[3] == INDEX[chain.sequence[10]]
        shift = template.positions[columns, CA] - chain.backbone[columns + 7, 1] / ANGSTROM
        assert np.abs(shift - shift.mean(axis=0)).max() < 0.25
        assert template.mask[columns, CB].tolist() == [letter != "G" for letter in chain.sequence[10:30]]
        assert not template.mask[:3].any() and not template.positions[23:].any()


def test_every_cluster_comes_before_a_second_chain_of_any(chains: list[KnownChain], tmp_path: Path) -> None:
    paired = [replace(chain, cluster=k // 2) for k, chain in enumerate(chains)]
    path = tmp_path / "library.npz"
    write_library(path, paired, {chains[0].name}, 10**6)
    everything = path.stat().st_size
    assert sorted(Library(path).sequences.letters) == sorted(chain.name for chain in chains[1:])
    count = write_library(path, paired, (), everything * 2 // 3)
    kept = set(Library(path).sequences.letters)
    assert path.stat().st_size <= everything * 2 // 3 and len(kept) == count
    firsts = {chain.name for chain in paired[::2]}
    assert kept <= firsts or firsts <= kept


def test_chains_with_a_gap_are_left_out(chains: list[KnownChain], tmp_path: Path) -> None:
    broken = chains[0].backbone.copy()
    broken[30:] += 500
    mixed = [replace(chains[0], backbone=broken), *chains[1:]]
    assert write_library(tmp_path / "library.npz", mixed, (), 10**6) == len(chains) - 1


def test_too_small_a_size_is_refused(chains: list[KnownChain], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chain fits"):
        write_library(tmp_path / "library.npz", chains, (), 100)


def test_other_files_are_refused() -> None:
    with pytest.raises(InputError, match=r"chains\.npz: has no array 'steps'"):
        Library(SHARD)
    with pytest.raises(InputError, match="comes twice"):
        read_chains([SHARD, SHARD])


def test_the_commands_make_a_library_and_relatives(tmp_path: Path, chains: list[KnownChain]) -> None:
    library, relatives, names = (tmp_path / name for name in ("library.npz", "relatives.npz", "names.txt"))
    names.write_text(f"# left out\n{chains[3].name}  # of no use\n")
    made = CliRunner().invoke(app, ["data", "library", str(SHARD), "-o", str(library), "--exclude", str(names)])
    assert made.exit_code == 0, made.output
    assert f"{len(chains) - 1} of {len(chains)} chains" in made.output
    made = CliRunner().invoke(app, ["data", "relatives", str(SHARD), "-o", str(relatives), "--library", str(library)])
    assert made.exit_code == 0, made.output
    assert f"of {len(chains)} chains" in made.output and relatives.is_file()
