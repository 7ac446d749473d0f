import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.Data.IUPACData import protein_letters_1to3
from Bio.PDB import PDBParser, parse_pdb_header
from hypothesis import given

from foldcli.errors import FoldcliError
from foldcli.protein.chain_names import ONE_LETTER
from foldcli.protein.residues import ATOM37
from foldcli.protein.structure import Prediction, Structure
from foldcli.report.pdb import pdb_text
from foldcli.report.provenance import UNTRAINED, Provenance, remarks
from tests.report.complexes import read_chains, structure
from tests.report.samples import prediction, predictions, provenance, provenances

# Printed to 0.001, then read as float32, whose step is 6e-5 at 500 angstrom.
TOLERANCE = 0.0005 + 3.1e-5
THREE_LETTERS = {letter: name.upper() for letter, name in protein_letters_1to3.items()} | {"X": "UNK"}
Atoms = dict[tuple[int, str, str], list[float]]


def test_columns_are_exact() -> None:
    atoms = ["N", "CA", "SG", "C"]
    mask = np.zeros((3, 37), dtype=bool)
    mask[0, [ATOM37.index(atom) for atom in atoms]] = True
    positions = np.zeros((3, 37, 3), np.float32)
    positions[0, ATOM37.index("N")] = [-999.999, 9999.999, -0.0001]
    positions[0, ATOM37.index("SG")] = [1.5, -2.25, 100]
    b_factor = np.array([100, 50, 1], np.float32)
    lines = pdb_text(Structure("CXA", positions, mask, np.array([9997, 9998, 9999]), b_factor), ["why"]).split("\n")
    assert [line.rstrip() for line in lines] == [
        "HEADER",
        "COMPND    MOL_ID: 1;",
        "COMPND   2 MOLECULE: UNNAMED;",
        "COMPND   3 CHAIN: A",
        "EXPDTA    THEORETICAL MODEL",
        "REMARK   6",
        "REMARK   6 why",
        "SEQRES   1 A    3  CYS UNK ALA",
        "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1",
        "MODEL        1",
        "ATOM      1  N   CYS A9997    -999.9999999.999   0.000  1.00100.00           N",
        "ATOM      2  CA  CYS A9997       0.000   0.000   0.000  1.00100.00           C",
        "ATOM      3  C   CYS A9997       0.000   0.000   0.000  1.00100.00           C",
        "ATOM      4  SG  CYS A9997       1.500  -2.250 100.000  1.00100.00           S",
        "TER       5      CYS A9997",
        "ENDMDL",
        "END",
        "",
    ]
    assert {len(line) for line in lines[:-1]} == {80}


def _read(text: str) -> Atoms:
    return {
        (atom.get_parent().id[1], atom.get_parent().resname, atom.name): [*atom.coord, atom.bfactor]
        for atom in PDBParser(PERMISSIVE=False).get_structure("x", io.StringIO(text)).get_atoms()
    }


def _expected(chain: Structure) -> Atoms:
    return {
        (int(chain.residue_index[i]), THREE_LETTERS[chain.sequence[i]], ATOM37[k]): [
            *chain.positions[i, k],
            round(float(chain.b_factor[i]), 2),
        ]
        for i, k in np.argwhere(chain.mask)
    }


@given(predictions, provenances)
def test_biopython_reads_it_back(predicted: Prediction, origin: Provenance) -> None:
    structure = predicted.structure
    text = pdb_text(structure, remarks(predicted, origin))
    assert text.isascii()
    assert {len(line) for line in text.split("\n")[:-1]} == {80}
    read, expected = _read(text), _expected(structure)
    assert list(read) == list(expected)
    np.testing.assert_allclose(list(read.values()), list(expected.values()), rtol=0, atol=TOLERANCE)


LONG_TITLE = "sp|P21589|5NTD_HUMAN 5'-nucleotidase; chain: A " + "and words that go on " * 6


def test_title_and_compound_are_read_back() -> None:
    text = pdb_text(prediction("MKV").structure, title=LONG_TITLE)
    header = parse_pdb_header(io.StringIO(text))
    assert header["name"] == LONG_TITLE.strip().lower()
    assert header["structure_method"] == "theoretical model"
    molecule = LONG_TITLE.lower().replace(";", ",").replace(":", "")
    assert header["compound"]["1"]["molecule"].replace(" ", "") == molecule.replace(" ", "")  # it joins lines without
    assert header["compound"]["1"]["chain"] == "a"
    read = gemmi.read_pdb_string(text)
    assert read.entities[0].full_sequence == ["MET", "LYS", "VAL"]
    assert not read.cell.is_crystal()


def test_mkdssp_reads_it(tmp_path: Path) -> None:
    """mkdssp 4 takes a file for PDB if HEADER comes first, and needs CRYST1; it runs where it is installed."""
    lines = pdb_text(prediction("MKVLITGAG").structure, title=LONG_TITLE).splitlines()
    assert lines[0].startswith("HEADER") and any(line.startswith("CRYST1") for line in lines)
    if shutil.which("mkdssp"):
        (tmp_path / "x.pdb").write_text("\n".join(lines))
        call = ["mkdssp", "--output-format", "dssp", tmp_path / "x.pdb", tmp_path / "x.dssp"]
        subprocess.run(call, check=True, capture_output=True)


def test_remarks_say_what_was_run() -> None:
    predicted = prediction("MKV")
    trained = "\n".join(remarks(predicted, provenance(title="sp|P1|Å\nprotein")))
    assert UNTRAINED not in trained
    for part in ("sp|P1|? protein", "foldcli 1.2.3", "model_1_ptm, seed 0, 3 recycles", "alignment of 12", "CC BY 4.0"):
        assert part in trained
    untrained = remarks(predicted, provenance(title="", trained=False, depth=1))
    assert untrained[0] == UNTRAINED
    assert "job: job" in untrained
    assert any("single sequence" in line for line in untrained)


def _with(structure: Structure, value: float) -> Structure:
    positions = structure.positions.copy()
    positions[1, ATOM37.index("CA"), 2] = value
    return replace(structure, positions=positions)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (prediction("XX").structure, "no atoms"),
        (prediction("AA", first=9999).structure, "residue 10000 .* use the .cif"),
        (_with(prediction("AA").structure, 10000), "coordinate .* use the .cif"),
        (_with(prediction("AA").structure, -999.9996), "coordinate .* use the .cif"),
        (_with(prediction("AA").structure, np.nan), "residue 2 .* not finite"),
        (replace(prediction("AA").structure, chain_names=("AB",)), "chain name 'AB' .* use the .cif"),
        (replace(prediction("A" * 2703).structure, mask=np.ones((2703, 37), bool)), "100011 atoms .* use the .cif"),
    ],
)
def test_what_columns_cannot_hold(structure: Structure, message: str) -> None:
    with pytest.raises(FoldcliError, match=message):
        pdb_text(structure, [])


def _records(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line[:6].strip() == name]


def test_chains_of_a_complex_are_read_back() -> None:
    """A sequence is one molecule, its copies are chains; each chain counts from 1 and ends with TER."""
    complex_ = structure()
    text = pdb_text(complex_, title="two of one")
    expected = {
        name: (complex_.sequence[start : start + length], list(range(1, length + 1)))
        for name, start, length in (("A", 0, 19), ("B", 19, 20), ("C", 39, 19))
    }
    assert read_chains(gemmi.read_pdb_string(text)) == expected
    read = PDBParser(PERMISSIVE=False).get_structure("x", io.StringIO(text))[0]
    assert {chain.id: [residue.id[1] for residue in chain] for chain in read} == {k: v[1] for k, v in expected.items()}
    molecules = parse_pdb_header(io.StringIO(text))["compound"]
    assert [one["chain"] for one in molecules.values()] == ["a, c", "b"]
    assert [one["molecule"] for one in molecules.values()] == ["two of one, chains a, c", "two of one, chain b"]
    serials = [int(line[6:11]) for line in text.splitlines() if line[:4] in ("ATOM", "TER ")]
    assert serials == list(range(1, len(serials) + 1))
    ends = [line[17:26] for line in _records(text, "TER")]
    assert ends == ["GLY A  19", "ALA B  20", "GLY C  19"]
    sequences = [line[7:17] for line in _records(text, "SEQRES")]
    assert sequences == ["  1 A   19", "  2 A   19", "  1 B   20", "  2 B   20", "  1 C   19", "  2 C   19"]


def test_sixty_two_chains_and_no_more() -> None:
    one = prediction("A" * 63).structure
    many = replace(one, residue_index=np.ones(63, int), chain_lengths=(1,) * 63)
    with pytest.raises(FoldcliError, match=r"chain name .AA. is not one letter; use the \.cif"):
        pdb_text(many)
    rows = {name: getattr(many, name)[:62] for name in ("positions", "mask", "residue_index", "b_factor")}
    fits = replace(many, sequence="A" * 62, chain_lengths=(1,) * 62, **rows)
    assert "".join(read_chains(gemmi.read_pdb_string(pdb_text(fits)))) == ONE_LETTER
