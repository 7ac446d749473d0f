"""Read protein chains from PDB files, gzipped or not."""

from pathlib import Path

import gemmi

from foldcli.data.formats.deposition import Deposition, protein_polymers
from foldcli.data.formats.mmcif import first_line
from foldcli.errors import InputError

PDB_SUFFIXES = (".pdb", ".ent", ".pdb.gz", ".ent.gz")


def read_pdb(path: Path) -> Deposition:
    """Read the protein chains of a file's first model, without a release date, which PDB files do not have.

    InputError: no such file, no atoms.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        structure = gemmi.read_pdb(str(path))
        structure.setup_entities()
        structure.assign_label_seq_id()
        polymers = protein_polymers(structure)
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise InputError(f"{path}: is no PDB file, or was cut: {first_line(error)}") from None
    return Deposition(path, "", structure.resolution, polymers)
