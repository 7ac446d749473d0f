"""Structure files of the user become templates, atom by atom; unusable ones are named on one line."""

from pathlib import Path

import numpy as np
import pytest

from foldcli.data.query import Query
from foldcli.protein.residues import ATOM37_INDEX, CA, GAP, LETTERS, NAMES
from foldcli.search.own_templates import OwnTemplates
from foldcli.search.templates import FoundTemplates
from tests.data.structures import Atom, backbone, mmcif, pdb

SEQUENCE = "MDKKETKHLLKIKKEDYPQIFDFLENVPRGTK"
OTHER = "GWCHFAWYQNSPTLVRWGHCMYFAQWNDHEPC"
TAIL = "GSGSG"


def names(sequence: str) -> list[str]:
    return [NAMES[LETTERS.index(letter)] for letter in sequence]


def residues(sequence: str, **others: object) -> list[Atom]:
    return [atom for k, name in enumerate(names(sequence), 1) for atom in backbone(name, k, **others)]


def entry(sequence: str = SEQUENCE) -> str:
    return mmcif(names(sequence), residues(sequence))


def find(*files: Path, sequence: str = TAIL + SEQUENCE, latest: str = "") -> FoundTemplates:
    return OwnTemplates(files, latest).find(Query("q", "", sequence, "q.fasta: record 1"))


def test_atoms_stand_where_the_file_has_them(tmp_path: Path) -> None:
    """A modified residue (HETATM), unobserved residues, and a second model with other coordinates."""
    seen = [atom for atom in residues(SEQUENCE) if atom.label not in (1, 10, 11)]
    selenium = Atom("SE", "MSE", 1, (1.0, 2.0, 3.0), group="HETATM")
    second = [Atom(a.name, a.residue, a.label, (50.0, 0.0, 0.0), model=2) for a in seen]
    rows = [*backbone("MSE", 1, group="HETATM"), selenium, *seen, *second]
    (tmp_path / "1abc.cif").write_text(mmcif(["MSE", *names(SEQUENCE)[1:]], rows))
    (shown,) = find(tmp_path / "1abc.cif").shown
    template, length = shown.template, len(TAIL)
    assert template.name == "1abc_B" and shown.hit.identity == 1.0
    assert "".join(LETTERS[kind] for kind in template.aatype[length:]) == SEQUENCE
    assert (template.aatype[:length] == GAP).all() and not template.mask[:length].any()
    assert np.flatnonzero(~template.mask[length:, CA]).tolist() == [9, 10]
    assert template.positions[length, ATOM37_INDEX["SD"]].tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(template.positions[length + 11, CA], [3.8 * 12, 0, 0], rtol=1e-6)
    assert str(shown) == f"1abc_B (identity 100%, coverage {30 / 37:.0%}, E-value {shown.hit.evalue:.1g})"


def test_insertion_codes_are_residues_of_their_own(tmp_path: Path) -> None:
    atoms = []
    for k, name in enumerate(names(SEQUENCE), 1):
        number, code = (k, "?") if k <= 20 else (20, chr(ord("A") + k - 21)) if k <= 23 else (k - 3, "?")
        atoms += backbone(name, k, number=number, insertion=code)
    (tmp_path / "mine.pdb").write_text(pdb(atoms))
    (shown,) = find(tmp_path / "mine.pdb", sequence=SEQUENCE).shown
    assert shown.template.mask[:, CA].all()
    np.testing.assert_allclose(shown.template.positions[:, CA, 0], 3.8 * np.arange(1, 33), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("other.cif", entry(OTHER), "other.cif: no chain of it aligns to q with an E-value up to 0.01"),
        ("cut.cif", entry()[:-900], "cut.cif: is no mmCIF file, or was cut"),
        ("empty.pdb", "END\n", "empty.pdb: "),
        (
            "ca.cif",
            mmcif(names(SEQUENCE), [atom for atom in residues(SEQUENCE) if atom.name == "CA"]),
            "ca.cif: has no protein",
        ),
        (
            "new.cif",
            entry().replace("2008-02-05", "2012-05-01"),
            "new.cif: was released on 2011-07-13, after 2010-01-01",
        ),
        ("mine.pdb", pdb(residues(SEQUENCE)), "mine.pdb: does not say when it was released"),
    ],
)
def test_the_others_are_used_and_this_one_is_named(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / "good.cif").write_text(entry())
    (tmp_path / name).write_text(text)
    found = find(tmp_path / name, tmp_path / "good.cif", latest="2010-01-01")
    assert [shown.template.name for shown in found.shown] == ["good_B"]
    (line,) = found.unused
    assert reason in line and "\n" not in line


def test_of_a_folder_the_four_that_say_most_are_used(tmp_path: Path) -> None:
    for k in range(6):
        (tmp_path / f"part{k}.cif").write_text(entry(SEQUENCE[: 32 - 2 * k]))
    found = find(tmp_path, sequence=SEQUENCE)
    assert {shown.template.name for shown in found.shown} == {f"part{k}_B" for k in range(4)}
    assert found.unused == [f"{tmp_path}/part{k}.cif: 4 others say more" for k in (4, 5)]
