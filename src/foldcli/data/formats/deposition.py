"""Protein chains of a structure file, mmCIF or PDB, and their atoms in AlphaFold's 37-slot layout."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import gemmi
import numpy as np
from Bio.Data.PDBData import protein_letters_3to1_extended
from numpy.typing import NDArray

from foldcli.data.chain import Chain
from foldcli.data.query import Alignment
from foldcli.protein.residues import ATOM14, ATOM37_INDEX, INDEX, LETTERS, LETTERS_X, UNKNOWN

BACKBONE = ("N", "CA", "C")
# Angstrom; a peptide bond has 1.33, and residues with C and N further apart are not bonded.
LONGEST_BOND = 2.0
# A construct (SEQRES) that fewer of a chain's residues agree with is another protein's.
LEAST_AGREEMENT = 0.9
# Protonation states by their names in force fields (AMBER, CHARMM, GROMACS), which tables of modified residues lack.
FORCE_FIELD = {
    "HSD": "H", "HSE": "H", "HSP": "H", "HID": "H", "HIE": "H", "HIP": "H", "HISD": "H", "HISE": "H", "HISH": "H",
    "HISA": "H", "HISB": "H", "CYX": "C", "CYM": "C", "CYS2": "C", "CYSH": "C", "ASH": "D", "ASPH": "D", "ASPP": "D",
    "GLH": "E", "GLUH": "E", "GLUP": "E", "LYN": "K", "LYSH": "K", "LSN": "K", "ARGN": "R", "ARN": "R",
}  # fmt: skip
LAST_OXYGEN = {"OT1": "O", "O1": "O"}
# For each residue letter, atom name -> slot; an unknown residue keeps the atoms that it shares with alanine.
SLOTS = {
    letter: {name: ATOM37_INDEX[name] for name in ATOM14[INDEX["A" if letter == "X" else letter]] if name}
    for letter in LETTERS_X
}


@dataclass(frozen=True)
class Polymer:
    """A protein chain: its author chain name, the full sequence (SEQRES), and the observed residues by position."""

    chain: str
    sequence: str
    residues: dict[int, gemmi.Residue]

    @property
    def has_backbone(self) -> bool:
        return any(all(name in residue for name in BACKBONE) for residue in self.residues.values())


@dataclass(frozen=True)
class Deposition:
    """The protein chains of a file's first model, without D-peptides.

    released: YYYY-MM-DD, empty if unknown; resolution in angstrom, 0 if there is none.
    """

    path: Path
    released: str
    resolution: float
    polymers: tuple[Polymer, ...]

    @property
    def name(self) -> str:
        return self.path.name.partition(".")[0].encode("utf-8", "replace").decode("utf-8")

    def chain(self, polymer: Polymer, alignment: Alignment | None = None) -> Chain:
        """Lay a polymer's observed residues out as a chain, named as in OpenFold: 2q2k_A."""
        positions = np.zeros((len(polymer.sequence), 37, 3), np.float32)
        mask = np.zeros((len(polymer.sequence), 37), np.bool_)
        for position, residue in polymer.residues.items():
            for slot, atom in _atoms(residue, polymer.sequence[position]).items():
                positions[position, slot] = atom.pos.tolist()
                mask[position, slot] = True
        _name_arginine_as_defined(polymer.sequence, positions, mask)
        name = f"{self.name}_{polymer.chain}"
        return Chain(name, polymer.sequence, positions, mask, self.resolution, alignment)


def protein_polymers(structure: gemmi.Structure) -> tuple[Polymer, ...]:
    """The proteins of the first model, one for each author chain name."""
    structure.setup_entities()
    found: dict[str, Polymer] = {}
    for chain in structure[0]:
        for span in chain.subchains():
            entity = structure.get_entity_of(span)
            if entity is not None and entity.polymer_type == gemmi.PolymerType.PeptideL:
                found.setdefault(chain.name, _polymer(chain.name, entity.full_sequence, span))
    return tuple(found.values())


def _polymer(chain: str, construct: list[str], span: gemmi.ResidueSpan) -> Polymer:
    if not construct:
        return _polymer_as_numbered(chain, span)
    names = [gemmi.Entity.first_mon(name) for name in construct]
    if _agreement(names, span) < LEAST_AGREEMENT:
        return _polymer_as_numbered(chain, span)
    residues: dict[int, gemmi.Residue] = {}
    for residue in span:
        # of several residue types at one position (microheterogeneity), the first of the sequence is taken
        if residue.label_seq is not None and (
            residue.label_seq - 1 not in residues or residue.name == names[residue.label_seq - 1]
        ):
            residues[residue.label_seq - 1] = residue
    return Polymer(chain, "".join(map(letter_of, names)), residues)


def _agreement(names: list[str], span: gemmi.ResidueSpan) -> float:
    """Fraction of a chain's places where a residue has the letter of the construct; one outside it agrees nowhere."""
    places = [(residue.label_seq, residue) for residue in span]
    placed = [(place, residue) for place, residue in places if place is not None]
    same = {place for place, residue in placed if letter_of(residue.name) == letter_of(names[place - 1])}
    return len(same) / (len({place for place, _ in placed}) + len(places) - len(placed))


def _polymer_as_numbered(chain: str, span: gemmi.ResidueSpan) -> Polymer:
    """Make a chain of a file without SEQRES: at chain breaks, X fills the gap in residue numbers.

    Such a file may come from a simulation, whose HSE is histidine, not homoserine, and whose GLH is glutamic acid.
    """
    residues: dict[int, gemmi.Residue] = {}
    position = -1
    for before, residue in pairwise([None, *span]):
        jump = 1 if before is None else residue.seqid.num - before.seqid.num
        if before is not None and residue.seqid == before.seqid:
            continue
        position += jump if jump > 1 and not _bonded(before, residue) else 1
        residues[position] = residue
    names = [residues[k].name if k in residues else "UNK" for k in range(position + 1)]
    return Polymer(chain, "".join(FORCE_FIELD.get(name) or letter_of(name) for name in names), residues)


def _bonded(before: gemmi.Residue | None, after: gemmi.Residue) -> bool:
    if before is None or "C" not in before or "N" not in after:
        return False
    return before["C"][0].pos.dist(after["N"][0].pos) < LONGEST_BOND


def letter_of(name: str) -> str:
    """The letter of a residue's name: of a modified residue its parent's; X where no table has one.

    AlphaFold reads Biopython's table. gemmi's comes first: it has D-amino acids and chromophores, which Biopython's
    no longer has, and reads PCA as E, as in all chains that were packed or indexed before.
    """
    letter = gemmi.find_tabulated_residue(name).one_letter_code.upper()
    if letter in LETTERS:
        return letter
    return protein_letters_3to1_extended.get(name) or FORCE_FIELD.get(name, LETTERS_X[UNKNOWN])


def _atoms(residue: gemmi.Residue, letter: str) -> dict[int, gemmi.Atom]:
    """The atom of each slot; of alternate locations the one with the highest occupancy, the first among equals."""
    chosen: dict[int, gemmi.Atom] = {}
    # selenomethionine becomes methionine (Suppl. Sec. 1.2.1); force fields have names of their own
    other_names = {"M": {"SE": "SD"}, "I": {"CD": "CD1"}}.get(letter, {}) | ({} if "O" in residue else LAST_OXYGEN)
    for atom in residue:
        slot = SLOTS[letter].get(other_names.get(atom.name, atom.name))
        if slot is not None and np.isfinite(atom.pos.x) and (slot not in chosen or atom.occ > chosen[slot].occ):
            chosen[slot] = atom
    return chosen


def _name_arginine_as_defined(sequence: str, positions: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Swap NH1 and NH2 where needed, so that NH1 is nearer to CD (Suppl. Sec. 1.2.1)."""
    cd, nh1, nh2 = (ATOM37_INDEX[name] for name in ("CD", "NH1", "NH2"))
    arginines = [k for k, letter in enumerate(sequence) if letter == "R" and mask[k, [cd, nh1, nh2]].all()]
    for k in arginines:
        far, near = (np.linalg.norm(positions[k, slot] - positions[k, cd]) for slot in (nh1, nh2))
        if far > near:
            positions[k, [nh1, nh2]] = positions[k, [nh2, nh1]]
