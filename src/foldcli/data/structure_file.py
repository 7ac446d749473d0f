"""Depositions from structure files of either format."""

from pathlib import Path

from foldcli.data.deposition import Deposition
from foldcli.data.mmcif import MMCIF_SUFFIXES, read_mmcif
from foldcli.data.pdb import PDB_SUFFIXES, read_pdb

STRUCTURE_SUFFIXES = MMCIF_SUFFIXES + PDB_SUFFIXES


def read_structure(path: Path) -> Deposition:
    """The protein chains of a PDB file, by its suffix, or of an mmCIF file; InputError if it cannot be read."""
    return read_pdb(path) if path.name.lower().endswith(PDB_SUFFIXES) else read_mmcif(path)
