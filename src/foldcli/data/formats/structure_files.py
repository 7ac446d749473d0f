"""Find and read structure files, mmCIF or PDB."""

from pathlib import Path

from foldcli.data.formats.deposition import Deposition
from foldcli.data.formats.mmcif import MMCIF_SUFFIXES, read_mmcif
from foldcli.data.formats.pdb import PDB_SUFFIXES, read_pdb
from foldcli.errors import InputError

STRUCTURE_SUFFIXES = MMCIF_SUFFIXES + PDB_SUFFIXES


def read_structure(path: Path) -> Deposition:
    """Read the protein chains of a file: PDB if its suffix says so, else mmCIF; InputError if it cannot be read."""
    return read_pdb(path) if path.name.lower().endswith(PDB_SUFFIXES) else read_mmcif(path)


def structure_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the structure files below a folder, sorted, without hidden ones; InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = (file for file in folder.rglob("*") if file.name.lower().endswith(suffixes))
    files = sorted(file for file in found if not file.name.startswith(".") and file.is_file())
    if not files:
        raise InputError(f"{folder}: has no structure; expected files that end in {', '.join(suffixes)}")
    return files
