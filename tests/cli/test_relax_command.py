"""`foldcli relax` relaxes files that exist, one by one, and writes beside them."""

import sys
from pathlib import Path

import gemmi
import pytest

from foldcli.cli.main import run
from tests.report.complexes import COMPLEX, read_chains

FRAGMENT = Path(__file__).parents[1] / "golden" / "fragment.pdb"


@pytest.fixture
def relax(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run `foldcli relax` in a folder that has a fragment as PDB and as mmCIF; exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    structure = gemmi.read_structure(str(FRAGMENT))
    for residue in structure[0][0]:
        for atom in residue:
            atom.b_iso = residue.seqid.num
    structure.setup_entities()
    structure.assign_label_seq_id()
    structure.write_pdb("one.pdb")
    structure.make_mmcif_document().write_file("two.cif")

    def call(*files: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foldcli", "relax", *files])
        with pytest.raises(SystemExit) as end:
            run()
        return (end.value.code or 0, *capfd.readouterr())  # type: ignore[return-value]

    return call


def test_both_formats_are_relaxed_and_what_cannot_be_is_said(relax) -> None:  # type: ignore[no-untyped-def]
    Path("text.pdb").write_text("no structure\n")
    code, out, err = relax("one.pdb", "text.pdb", "absent.cif", "two.cif")
    assert code == 1
    assert [line.split(": ")[:2] for line in out.splitlines()] == [
        ["one.pdb", "one_relaxed.pdb"], ["two.cif", "two_relaxed.cif"],
    ]  # fmt: skip
    assert [line.split(": ")[1] for line in err.splitlines()] == ["text.pdb", "absent.cif"]
    before = gemmi.read_structure("one.pdb")[0][0]
    for file in ("one_relaxed.pdb", "two_relaxed.cif"):
        after = gemmi.read_structure(file)[0][0]
        assert [residue.seqid.num for residue in after] == [residue.seqid.num for residue in before]
        moved = [after[k]["CA"][0].pos.dist(before[k]["CA"][0].pos) for k in range(len(before))]
        assert max(moved) < 0.5 and len(after[0]) > 15  # hydrogens
        assert [residue["CA"][0].b_iso for residue in after] == [residue.seqid.num for residue in before]
    assert relax("one.pdb") == (1, "", "foldcli: one_relaxed.pdb: exists; move it away to relax one.pdb again\n")


def test_what_the_force_field_cannot_take_is_named(relax) -> None:  # type: ignore[no-untyped-def]
    lines = Path("one.pdb").read_text().splitlines(keepends=True)
    third = sorted({line[22:26] for line in lines if line.startswith("ATOM")}, key=int)[2]
    Path("gap.pdb").write_text("".join(line for line in lines if line[:4] != "ATOM" or line[22:26] != third))
    Path("none.pdb").write_text("".join(line for line in lines if line[12:16].strip() not in ("CA", "C")))
    code, out, err = relax("gap.pdb", "none.pdb")
    assert (code, out) == (1, "")
    gap, none = err.splitlines()
    assert gap == "foldcli: gap.pdb: residue 3 of chain A has no atoms; build it first"
    assert none == "foldcli: none.pdb: has no protein chain"


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_chains_are_relaxed_together_and_keep_their_names(relax, suffix: str) -> None:  # type: ignore[no-untyped-def]
    before = gemmi.read_structure(str(COMPLEX))
    for chain, name in zip(before[0], "KL", strict=True):
        chain.name = name
    before.setup_entities()
    before.assign_label_seq_id()
    before.write_pdb("pair.pdb") if suffix == "pdb" else before.make_mmcif_document().write_file("pair.cif")
    code, out, _ = relax(f"pair.{suffix}")
    assert code == 0 and "residues with violations 0 to 0" in out
    after = gemmi.read_structure(f"pair_relaxed.{suffix}")
    assert read_chains(after) == read_chains(before)
    assert [chain.name for chain in after[0]] == ["K", "L"] and [len(chain[-1]["OXT"]) for chain in after[0]] == [1, 1]
    moved = [
        new["CA"][0].pos.dist(old["CA"][0].pos)
        for k in range(2)
        for new, old in zip(after[0][k], before[0][k], strict=True)
    ]
    assert max(moved) < 0.5


def test_without_openmm(relax, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "openmm", None)
    expected = "foldcli: foldcli relax: openmm is not installed; pip install 'foldcli[relax]'\n"
    assert relax("one.pdb") == (2, "", expected)


def test_what_would_take_hours_is_refused(relax, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("foldcli.folding.relax.MOST_ON_CPU", 20)
    code, out, err = relax("one.pdb")
    assert (code, out) == (1, "")
    assert err == (
        "foldcli: one.pdb: foldcli relax takes up to 20 residues on the CPU, where more takes hours, in up to 62 "
        "chains, and here are 21; relax a part of it (foldcli relax), or none\n"
    )
