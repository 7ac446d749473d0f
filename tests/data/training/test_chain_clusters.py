"""Similar chains share a cluster number: from a file, with MMseqs2, or by our k-mer search."""

import random
from pathlib import Path

import pytest

from foldcli.data.training.chain_clusters import cluster_chains
from foldcli.errors import FoldcliError, InputError
from foldcli.protein.residues import LETTERS


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH: without MMseqs2, unless a test puts it there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def mutated(draw: random.Random, sequence: str, kept: float) -> str:
    """A homolog: a fraction `kept` of letters stays, some are deleted, some inserted."""
    letters = [letter if draw.random() < kept else draw.choice(LETTERS) for letter in sequence]
    letters = [letter for letter in letters if draw.random() > 0.02]
    return "".join(letter + draw.choice(LETTERS) * (draw.random() < 0.02) for letter in letters)


def test_the_plain_search_finds_families_and_parts_strangers(programs):
    draw = random.Random(0)
    ancestors = ["".join(draw.choices(LETTERS, k=draw.randint(60, 300))) for _ in range(40)]
    sequences = [mutated(draw, ancestor, 0.7) for ancestor in ancestors for _ in range(3)]
    found = cluster_chains([""] * len(sequences), sequences, None)
    assert "without MMseqs2" in found.how
    families = [set(found.numbers[k : k + 3]) for k in range(0, len(sequences), 3)]
    assert sum(len(family) == 1 for family in families) == 40
    together = [number for family in families for number in family]
    assert len(together) == len(set(together))


def test_a_piece_joins_the_whole_and_short_chains_stand_alone(programs):
    draw = random.Random(1)
    whole = "".join(draw.choices(LETTERS, k=300))
    piece = mutated(draw, whole[100:180], 0.6)
    first, second, third, fourth = cluster_chains("abcd", [piece, whole, "MK", "XXXXXXXX"], None).numbers
    assert first == second
    assert len({second, third, fourth}) == 3


def test_clusters_of_a_file(tmp_path):
    file = tmp_path / "clusters.txt"
    file.write_text("1ABC_A 2abc_B\n3abc_a\n\n")
    names = ["1abc_A", "3abc_A", "2abc_B", "4abc_A", "3abc_a"]
    found = cluster_chains(names, [""] * 5, file)
    assert found.numbers[0] == found.numbers[2]
    assert len(set(found.numbers)) == 4
    assert "2 chains that it does not name are alone" in found.how
    with pytest.raises(InputError, match=r"clusters\.txt: names none of the chains; expected lines of names such as x"):
        cluster_chains(["x"], ["A"], file)


def test_clusters_by_mmseqs(programs):
    """MMseqs2's table has a line for each chain, the representative first; a chain not in it is its own cluster."""
    program = programs / "mmseqs"
    program.write_text(
        '#!/bin/sh\n[ "$1" = easy-cluster ] && [ -s "$2" ] && printf "0\\t0\\n0\\t2\\n" > "$3_cluster.tsv"\n'
    )
    program.chmod(0o755)
    found = cluster_chains("abc", ["MKV", "AAA", "MKI"], None)
    assert (found.numbers, found.how) == ([0, 1, 0], "by MMseqs2 at 30 % identity")
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 1\n")
    with pytest.raises(FoldcliError, match="mmseqs: out of memory; give the clusters as a file with --clusters"):
        cluster_chains("a", ["MKV"], None)
    program.write_text("#!/bin/sh\necho No k-mer could be extracted for the database >&2\nexit 1\n")
    found = cluster_chains("abc", ["MKV", "AAA", "MKV"], None)
    assert found.numbers[0] == found.numbers[2] != found.numbers[1]
    assert "without MMseqs2" in found.how
