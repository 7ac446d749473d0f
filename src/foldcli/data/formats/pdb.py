"""Read protein chains from PDB files, gzipped or not."""

from pathlib import Path
from string import ascii_uppercase

import gemmi

from foldcli.data.formats.deposition import Deposition, protein_polymers
from foldcli.data.formats.mmcif import first_line
from foldcli.data.formats.text_files import utf8_name
from foldcli.errors import InputError

OLD_LINE = 72
PDB_SUFFIXES = (".pdb", ".ent", ".pdb.gz", ".ent.gz")


def read_pdb(path: Path) -> Deposition:
    """Read the protein chains of a file's first model, without a release date, which PDB files do not have.

    InputError: no such file, no atoms.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        structure = _read(path)
        for model in structure:
            _name_chains(model)
        structure.setup_entities()
        structure.assign_label_seq_id()
        polymers = protein_polymers(structure)
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise InputError(f"{path}: is no PDB file, or was cut: {first_line(error)}") from None
    return Deposition(path, "", structure.resolution, polymers)


def _read(path: Path) -> gemmi.Structure:
    with utf8_name(path) as name:
        try:
            return gemmi.read_pdb(name)
        except RuntimeError as error:  # before 1997, lines ended with the entry and a number where charges are now
            try:
                return gemmi.read_pdb(name, max_line_length=OLD_LINE)
            except RuntimeError:
                raise error from None


def _name_chains(model: gemmi.Model) -> None:
    """Give a chain without a name, as GROMACS writes it, the first free letter: without one it is no entity."""
    free = iter(sorted(set(ascii_uppercase) - {chain.name for chain in model}))
    for chain in model:
        if not chain.name.strip():
            chain.name = next(free, "unnamed")
