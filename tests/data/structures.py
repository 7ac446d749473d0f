"""Write small mmCIF and PDB files."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COLUMNS = (
    "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id label_seq_id "
    "pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num"
).split()
BACKBONE = {"N": (-1.2, 0.8, 0.0), "CA": (0.0, 0.0, 0.0), "C": (1.5, 0.0, 0.0), "O": (2.1, 1.1, 0.0)}


@dataclass(frozen=True)
class Atom:
    """A row of _atom_site; label: position in SEQRES, from 1."""

    name: str
    residue: str
    label: int
    xyz: tuple[float, float, float]
    altloc: str = "."
    occupancy: float = 1.0
    number: int = 0
    insertion: str = "?"
    model: int = 1
    group: str = "ATOM"


def backbone(residue: str, label: int, **others: object) -> list[Atom]:
    """N, CA, C and O of a residue, bonded to the residue before."""
    atoms = [Atom(name, residue, label, (x + 3.8 * label, y, z)) for name, (x, y, z) in BACKBONE.items()]
    return [dataclasses.replace(atom, **others) for atom in atoms]  # type: ignore[arg-type]


def mmcif(construct: Sequence[str], atoms: Iterable[Atom], name: str = "1abc", author: str = "B") -> str:
    """An entry with a protein (label chain A, author chain `author`), a DNA and a water."""
    lines = [
        f"data_{name}", "_exptl.method 'X-RAY DIFFRACTION'", "_refine.ls_d_res_high 2.50",
        "loop_", "_pdbx_audit_revision_history.ordinal", "_pdbx_audit_revision_history.revision_date",
        "1 2011-07-13", "2 2008-02-05",
        "loop_", "_entity.id", "_entity.type", "1 polymer", "2 polymer", "3 water",
        "loop_", "_entity_poly.entity_id", "_entity_poly.type", "1 'polypeptide(L)'", "2 polydeoxyribonucleotide",
        "loop_", "_entity_poly_seq.entity_id", "_entity_poly_seq.num", "_entity_poly_seq.mon_id",
        *(f"1 {number} {residue}" for number, residue in enumerate(construct, start=1)), "2 1 DA",
        "loop_", "_struct_asym.id", "_struct_asym.entity_id", "A 1", "D 2", "W 3",
        "loop_", *(f"_atom_site.{column}" for column in COLUMNS),
    ]  # fmt: skip
    rows = [_row(number, atom, "A", 1, author) for number, atom in enumerate(atoms, start=1)]
    rows.append(_row(len(rows) + 1, Atom("P", "DA", 1, (9.0, 9.0, 9.0)), "D", 2, "D"))
    rows.append(_row(len(rows) + 1, Atom("O", "HOH", 0, (8.0, 8.0, 8.0), group="HETATM"), "W", 3, author))
    return "\n".join([*lines, *rows, "#", ""])


def _row(serial: int, atom: Atom, chain: str, entity: int, author: str) -> str:
    x, y, z = atom.xyz
    return (
        f"{atom.group} {serial} {atom.name[0]} {atom.name} {atom.altloc} {atom.residue} {chain} {entity} "
        f"{atom.label or '.'} {atom.insertion} {x:.3f} {y:.3f} {z:.3f} {atom.occupancy:.2f} 0.0 "
        f"{atom.number or atom.label or 1} {author} {atom.model}"
    )


def pdb(atoms: Iterable[Atom], construct: Sequence[str] = ()) -> str:
    """Chain B as a PDB file, with SEQRES if a construct is given."""
    seqres = [f"SEQRES   1 B {len(construct):4d}  {' '.join(construct)}"] if construct else []
    rows = [
        f"ATOM  {serial:5d}  {atom.name:<3s} {atom.residue} B{atom.number or atom.label:4d}{atom.insertion:1s}   "
        f"{atom.xyz[0]:8.3f}{atom.xyz[1]:8.3f}{atom.xyz[2]:8.3f}  1.00  0.00           {atom.name[0]}"
        for serial, atom in enumerate(atoms, start=1)
    ]
    return "\n".join([*seqres, *rows, "END", ""]).replace("?", " ")
