"""Structure files: atoms go to the right slots, and broken files are named."""

import contextlib
import dataclasses
import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
from Bio.PDB import MMCIFParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldcli.data.formats.deposition import letter_of
from foldcli.data.formats.mmcif import read_mmcif
from foldcli.data.formats.pdb import read_pdb
from foldcli.errors import InputError
from foldcli.protein.residues import ATOM37, ATOM37_INDEX
from tests.data.structures import Atom, backbone, mmcif, pdb

CONSTRUCT = ["MSE", "ALA", "ARG", "SEP", "XYZ", "GLY", "TRP"]


def entry(folder: Path, text: str, name: str = "1abc.cif") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def only_chain(path: Path):
    deposition = read_mmcif(path) if ".cif" in path.name else read_pdb(path)
    (polymer,) = deposition.polymers
    return deposition.chain(polymer)


def real_life() -> list[Atom]:
    """Selenomethionine, a gap, insertion codes, modified and unknown residues, two models."""
    arginine = backbone("ARG", 3, number=10, insertion="A")
    arginine += [Atom("CD", "ARG", 3, (0, 0, 5), number=10, insertion="A")]
    arginine += [Atom("NH1", "ARG", 3, (0, 0, 9), number=10, insertion="A")]
    arginine += [Atom("NH2", "ARG", 3, (0, 0, 8), number=10, insertion="A")]
    phosphoserine = backbone("SEP", 4, number=11, group="HETATM")
    phosphoserine += [Atom("OG", "SEP", 4, (1, 2, 3), number=11), Atom("P", "SEP", 4, (1, 2, 4), number=11)]
    unknown = [*backbone("XYZ", 5, number=12), Atom("CG", "XYZ", 5, (7, 7, 7), number=12)]
    return [
        *backbone("MSE", 1, number=10, group="HETATM"), Atom("SE", "MSE", 1, (5, 6, 7), number=10, group="HETATM"),
        *arginine, *phosphoserine, *unknown,
        Atom("N", "GLY", 6, (1, 1, 1), number=13), *backbone("TRP", 7, number=14, model=2),
    ]  # fmt: skip


def test_what_real_files_hold(tmp_path):
    path = entry(tmp_path, mmcif(CONSTRUCT, real_life()))
    deposition, chain = read_mmcif(path), only_chain(path)
    assert (deposition.released, deposition.resolution) == ("2008-02-05", 2.5)
    assert (chain.name, chain.sequence) == ("1abc_B", "MARSXGW")

    observed = [[ATOM37[k] for k in np.flatnonzero(row)] for row in chain.mask]
    n_ca_c_o = ["N", "CA", "C", "O"]
    assert observed == [
        [*n_ca_c_o, "SD"], [], [*n_ca_c_o, "CD", "NH1", "NH2"], [*n_ca_c_o, "OG"], n_ca_c_o, ["N"], []
    ]  # fmt: skip
    at = {name: chain.positions[:, slot] for name, slot in ATOM37_INDEX.items()}
    assert at["SD"][0].tolist() == [5, 6, 7]
    assert (at["NH1"][2, 2], at["NH2"][2, 2]) == (8, 9)
    assert not chain.positions[~chain.mask].any()


def test_packed_files_are_read(tmp_path):
    text = mmcif(CONSTRUCT, real_life())
    plain = only_chain(entry(tmp_path, text))
    packed = tmp_path / "1abc.cif.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert np.array_equal(only_chain(packed).positions, plain.positions)
    packed.write_bytes(gzip.compress(text.encode())[:400])
    with pytest.raises(InputError, match=r"1abc\.cif\.gz: is no mmCIF file, or was cut"):
        read_mmcif(packed)


@st.composite
def alternates(draw):
    """A residue whose atoms have up to three alternate locations."""
    atoms = []
    for name in draw(st.lists(st.sampled_from(["N", "CA", "C", "O", "CB", "OG"]), min_size=1, unique=True)):
        for altloc in draw(st.sampled_from(["A", "AB", "BC", "ABC"])):
            place = draw(st.tuples(*[st.integers(-99, 99)] * 3))
            atoms.append(Atom(name, "SER", 1, place, altloc, draw(st.integers(1, 9)) / 10))
    return atoms


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(atoms=alternates())
def test_alternate_locations_as_biopython_chooses_them(atoms, tmp_path):
    text = mmcif(["SER"], atoms)
    chain = only_chain(entry(tmp_path, text))
    residue = next(iter(MMCIFParser(QUIET=True).get_structure("", io.StringIO(text))[0]["B"]))
    assert chain.mask.sum() == len(residue)
    for atom in residue:
        assert chain.positions[0, ATOM37_INDEX[atom.name]].tolist() == atom.coord.tolist()


def test_of_two_residues_in_one_place_the_construct_names_one(tmp_path):
    atoms = [*backbone("THR", 1, altloc="A"), *backbone("SER", 1, altloc="B")]
    atoms += [Atom("CG2", "THR", 1, (1, 2, 3), "A"), Atom("OG", "SER", 1, (1, 2, 3), "B")]
    chain = only_chain(entry(tmp_path, mmcif(["SER"], atoms)))
    assert (chain.sequence, chain.mask[0, ATOM37_INDEX["OG"]], chain.mask[0, ATOM37_INDEX["CG2"]]) == ("S", True, False)


def test_a_pdb_file_says_what_the_mmcif_file_says(tmp_path):
    construct = ["ALA", "SER", "ALA", "GLY"]
    atoms = [atom for label in (1, 3, 4) for atom in backbone(construct[label - 1], label)]
    chain = only_chain(entry(tmp_path, pdb(atoms, construct), "1abc.pdb"))
    other = only_chain(entry(tmp_path, mmcif(construct, atoms)))
    assert (chain.name, chain.sequence) == (other.name, other.sequence)
    assert np.array_equal(chain.positions, other.positions)


def test_a_pdb_file_without_a_construct_shows_its_gaps(tmp_path):
    numbers = [(1, 7, " "), (2, 7, "A"), (5, 10, " "), (6, 40, " ")]
    # between 10 and 40 residue numbers jump, but there is no chain break
    atoms = [atom for label, number, code in numbers for atom in backbone("ALA", label, number=number, insertion=code)]
    assert only_chain(entry(tmp_path, pdb(atoms), "1abc.ent")).sequence == "AAXXAA"


def test_a_pdb_file_of_before_1997_is_read(tmp_path):
    """Its lines end with the entry and a number, where element and charge are now."""
    rows = pdb(backbone("ALA", 1) + backbone("SER", 2)).splitlines()
    text = "\n".join(f"{row[:66]:72s}1ABC{k:4d}" for k, row in enumerate(rows, start=98))
    assert only_chain(entry(tmp_path, text, "1abc.pdb")).sequence == "AS"


def test_a_chain_without_a_name_is_read(tmp_path):
    """As GROMACS writes it, with its names of a histidine, of isoleucine's CD and of the last oxygen."""
    last = [dataclasses.replace(atom, name="O1") if atom.name == "O" else atom for atom in backbone("HSE", 3)]
    atoms = [*backbone("GLH", 1), *backbone("ILE", 2), Atom("CD", "ILE", 2, (1, 2, 3)), *last]
    chain = only_chain(entry(tmp_path, pdb(atoms).replace(" B ", "   "), "md.pdb"))
    assert (chain.name, chain.sequence) == ("md_A", "EIH")
    assert chain.mask[1, ATOM37_INDEX["CD1"]] and chain.mask[2, ATOM37_INDEX["O"]]


def test_a_construct_of_another_protein_is_not_believed(tmp_path):
    atoms = [atom for k, name in enumerate(["ALA", "SER", "GLY"], 1) for atom in backbone(name, k)]
    assert only_chain(entry(tmp_path, pdb(atoms, ["TRP", "LYS", "ALA", "TRP"]), "1abc.pdb")).sequence == "ASG"


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_a_file_whose_name_is_no_utf8_is_read(suffix, tmp_path):
    atoms = backbone("ALA", 1)
    text = pdb(atoms, ["ALA"]) if suffix == ".pdb" else mmcif(["ALA"], atoms)
    chain = only_chain(entry(tmp_path, text, os.fsdecode(b"\xff") + suffix))
    assert (chain.name, chain.sequence) == ("?_B", "A")


BROKEN = {
    "no such file": None,
    "is no mmCIF file, or was cut: 1:0": "MKV\n",
    "has no atoms": "data_1abc\n_entry.id 1ABC\n",
    "lists chain D, of which it has no atom; it was cut": mmcif(CONSTRUCT, real_life()).partition("ATOM 24 ")[0],
    "is no mmCIF file, or was cut: ": mmcif(CONSTRUCT, real_life())[:-120],
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_file_is_named(message, tmp_path):
    path = tmp_path / "1abc.cif"
    if BROKEN[message] is not None:
        path.write_text(BROKEN[message])
    with pytest.raises(InputError) as error:
        read_mmcif(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_no_cut_is_read_in_silence(tmp_path):
    """A file truncated anywhere is refused, or gives the same protein as the whole one."""
    text = mmcif(CONSTRUCT, real_life())
    whole = only_chain(entry(tmp_path, text))
    read = 0
    for end in range(0, len(text), 7):
        with contextlib.suppress(InputError):
            chain = only_chain(entry(tmp_path, text[:end]))
            assert np.array_equal(chain.positions, whole.positions)
            read += 1
    assert read < 10


def test_a_file_without_protein_has_no_chain(tmp_path):
    text = mmcif(CONSTRUCT, real_life()).replace("polypeptide(L)", "polyribonucleotide")
    assert read_mmcif(entry(tmp_path, text)).polymers == ()
    assert read_pdb(entry(tmp_path, "HEADER\nEND\n", "empty.pdb")).polymers == ()


@pytest.mark.parametrize(
    ("name", "letter"),
    # PCA and the D-amino acid as gemmi has them; AYA, an acetylated alanine, only Biopython knows; HID, CYX: AMBER's
    [
        ("MET", "M"),
        ("MSE", "M"),
        ("SEP", "S"),
        ("PCA", "E"),
        ("DAL", "A"),
        ("AYA", "A"),
        ("SEC", "X"),
        ("HOH", "X"),
        ("HID", "H"),
        ("CYX", "C"),
        ("HSE", "S"),
    ],
)
def test_a_modified_residue_has_the_letter_of_its_parent(name: str, letter: str):
    assert letter_of(name) == letter
