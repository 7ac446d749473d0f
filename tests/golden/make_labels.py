"""Write losses/labels.npz: a fragment of a real chain, with symmetric side chains, a gap and missing atoms.

    python make_labels.py 2q2k.cif

It is PDB entry 2Q2K, chain A, residues 31 to 60 without 45 to 47, with one more residue and some atoms removed.
"""

import sys
from pathlib import Path

import gemmi
import numpy as np

from foldcli.protein import residues

GAP = range(45, 48)
MISSING = {
    32: "CG CD CE NZ", 34: "OE2", 38: "O", 40: "CE1", 41: "OD2", 50: "CB", 52: "CA", 53: " ".join(residues.ATOM37),
}  # fmt: skip


def main() -> None:
    structure = gemmi.read_structure(sys.argv[1])
    structure.setup_entities()
    kept = [r for r in structure[0]["A"].get_polymer() if 31 <= r.label_seq <= 60 and r.label_seq not in GAP]
    positions, mask = np.zeros((len(kept), 37, 3), np.float32), np.zeros((len(kept), 37), np.float32)
    for i, residue in enumerate(kept):
        for atom in residue:
            if atom.name not in MISSING.get(residue.label_seq, "").split():
                slot = residues.ATOM37_INDEX[atom.name]
                positions[i, slot], mask[i, slot] = atom.pos.tolist(), 1
    np.savez_compressed(
        Path(__file__).with_name("losses") / "labels.npz",
        sequence="".join(residues.LETTERS[residues.NAMES.index(r.name)] for r in kept),
        residue_index=np.array([r.label_seq for r in kept], np.int32),
        positions=positions,
        mask=mask,
        resolution=np.float32(structure.resolution),
    )


if __name__ == "__main__":
    main()
