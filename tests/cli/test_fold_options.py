"""`foldcli fold`: rings, numbers of residues, structures of passes, and an initial guess."""

import shutil
from pathlib import Path

import gemmi
import numpy as np
import pytest

from tests.cli.conftest import LONG, SHORT, Command, results

ONE_MORE_PASS = "--model tiny --weights untrained --num-recycle 1"


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "one.fasta"
    path.write_text(f">a\n{SHORT}\n")
    return path


def atoms(path: Path) -> tuple[list[int], np.ndarray]:
    """Numbers of the residues, and positions of all atoms."""
    chain = gemmi.read_structure(str(path))[0][0]
    places = [atom.pos.tolist() for residue in chain for atom in residue]
    return [residue.seqid.num for residue in chain], np.array(places)


def best(out: str, suffix: str = "pdb") -> Path:
    return next(Path(out, "a").glob(f"a_unrelaxed_rank_001_*.{suffix}"))


def test_a_ring_is_another_chain_and_its_bond_is_named(command: Command, fasta: Path) -> None:
    assert command(fasta, "--out", "open").code == 0
    assert command(fasta, "--out", "ring", "--cyclic").code == 0
    assert np.abs(atoms(best("open"))[1] - atoms(best("ring"))[1]).max() > 0.01
    (bond,) = gemmi.read_structure(str(best("ring"))).connections
    ends = [(end.res_id.name, end.res_id.seqid.num, end.atom_name) for end in (bond.partner1, bond.partner2)]
    assert ends == [("GLY", 10, "C"), ("ASN", 1, "N")]
    assert "cyclic: the last residue is bonded to the first" in " ".join(best("ring", suffix="cif").read_text().split())
    assert command(fasta, "--out", "open", "--cyclic").err.count("pass 0") == 1  # the key covers it
    fasta.write_text(">dimer\nGA\n")
    refused = f"foldcli: {fasta}: record 1 (dimer): --cyclic needs 3 residues or more"
    assert command(fasta, "--out", "ring", "--cyclic").error == refused


def test_numbers_begin_where_they_are_told_to(command: Command, fasta: Path) -> None:
    positions = []
    for first in (-3, 212):
        assert command(fasta, "--out", "out", "--first-residue", str(first)).code == 0
        for suffix in ("pdb", "cif"):
            numbers, places = atoms(best("out", suffix))
            assert numbers == list(range(first, first + len(SHORT)))
            positions.append(places)
    for places in positions[1:]:
        np.testing.assert_allclose(places, positions[0], atol=0.0011)  # PDB files have three decimals


def test_each_pass_is_saved_with_its_number(command: Command, fasta: Path) -> None:
    assert command(fasta, "--out", "out", "--save-recycles", "--num-seeds", "2", usual=ONE_MORE_PASS).code == 0
    label = best("out").stem.removeprefix("a_unrelaxed_")
    passes = [Path("out/a", f"a_pass_{k}_{label}.pdb") for k in (0, 1)]
    assert len(list(Path("out/a").glob("a_pass_*_rank_*.pdb"))) == 4
    first, last = (atoms(path)[1] for path in passes)
    np.testing.assert_array_equal(last, atoms(best("out"))[1])
    assert np.abs(first - last).max() > 0.01
    assert [f", {k} recycles" in path.read_text() for k, path in enumerate(passes)] == [True, True]


def test_a_guess_enters_the_first_pass(command: Command, fasta: Path) -> None:
    assert command(fasta, "--out", "plain").code == 0
    shutil.copy(best("plain"), "guess.pdb")
    guessed = ("--initial-guess", "guess.pdb", "--out", "out")
    assert command(fasta, *guessed).code == 0
    assert np.abs(atoms(best("out"))[1] - atoms(best("plain"))[1]).max() > 0.01
    assert (
        "initial guess guess.pdb" in best("out").read_text()
        and "initial guess" in Path("out/a/report.html").read_text()
    )
    assert "(done before)" in command(fasta, *guessed).err
    shutil.copy(best("out"), "guess.pdb")
    assert "(done before)" not in command(fasta, *guessed).err  # by its content
    fasta.write_text(f">a\n{SHORT}\n>b\n{LONG}\n")
    refused = "foldcli: --initial-guess guess.pdb: b has 14 residues; of its chains there is guess_A of 10"
    assert command(fasta, *guessed).error == refused
    assert results(Path("out")).keys() == {"a"}
