"""Depositions from structure files of either format."""

from pathlib import Path

from foldcli.data.formats.deposition import Deposition
from foldcli.data.formats.mmcif import MMCIF_SUFFIXES, read_mmcif
from foldcli.data.formats.pdb import PDB_SUFFIXES, read_pdb
from foldcli.errors import InputError

STRUCTURE_SUFFIXES = MMCIF_SUFFIXES + PDB_SUFFIXES


def read_structure(path: Path) -> Deposition:
    """The protein chains of a PDB file, by its suffix, or of an mmCIF file; InputError if it cannot be read."""
    return read_pdb(path) if path.name.lower().endswith(PDB_SUFFIXES) else read_mmcif(path)


def structure_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The structure files of a folder and its folders, by name; InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = sorted(file for file in folder.rglob("*") if file.name.lower().endswith(suffixes) and file.is_file())
    if not files:
        raise InputError(f"{folder}: has no structure; expected files that end in {', '.join(suffixes)}")
    return files
