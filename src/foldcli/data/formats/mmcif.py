"""Depositions from mmCIF files, packed with gzip or not."""

import contextlib
from pathlib import Path

import gemmi

from foldcli.data.formats.deposition import Deposition, protein_polymers
from foldcli.data.formats.text_files import utf8_name
from foldcli.errors import InputError

RESOLUTIONS = "_refine.ls_d_res_high", "_em_3d_reconstruction.resolution", "_reflns.d_resolution_high"
MMCIF_SUFFIXES = (".cif", ".cif.gz", ".mmcif")


def read_mmcif(path: Path) -> Deposition:
    """Read the protein chains of a file's first model; InputError: no such file, not mmCIF, truncated, no atoms."""
    block = _atom_block(path)
    try:
        structure = gemmi.make_structure_from_block(block)
        structure.merge_chain_parts()
        polymers = protein_polymers(structure)
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: its atoms cannot be read: {first_line(error)}") from None
    return Deposition(path, _release_date(block), _resolution(block), polymers)


def first_line(error: Exception) -> str:
    """The first line of a parser's message, without the excerpt of the file that follows."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _atom_block(path: Path) -> gemmi.cif.Block:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with utf8_name(path) as name:
            blocks = list(gemmi.cif.read(name))
    except (RuntimeError, ValueError, OSError) as error:
        reason = first_line(error).removeprefix(f"{path}:")
        raise InputError(f"{path}: is no mmCIF file, or was cut: {reason}") from None
    if not blocks or not blocks[0].find_values("_atom_site.Cartn_x"):
        raise InputError(f"{path}: has no atoms (_atom_site)")
    _check_complete(blocks[0], path)
    return blocks[0]


def _check_complete(block: gemmi.cif.Block, path: Path) -> None:
    """Refuse a file truncated between two rows of atoms: it parses, but lists chains without atoms."""
    present = set(block.find_values("_atom_site.label_asym_id"))
    for chain in block.find_values("_struct_asym.id"):
        if chain not in present:
            raise InputError(f"{path}: lists chain {chain}, of which it has no atom; it was cut, fetch it again")


def _release_date(block: gemmi.cif.Block) -> str:
    """The date of the first revision, as in AlphaFold: YYYY-MM-DD, empty if the file has none."""
    return min(block.find_values("_pdbx_audit_revision_history.revision_date"), default="").strip("?.'\"")


def _resolution(block: gemmi.cif.Block) -> float:
    """Resolution in angstrom by X-ray diffraction or electron microscopy, the first one given; 0 if there is none."""
    for tag in RESOLUTIONS:
        for value in block.find_values(tag):
            with contextlib.suppress(ValueError):
                return float(value)
    return 0.0
