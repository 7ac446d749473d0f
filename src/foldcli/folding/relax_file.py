"""`foldcli relax`: relaxes the protein chains of a structure that exists, and writes them beside its file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from foldcli.data.formats.deposition import LONGEST_BOND, Deposition, Polymer
from foldcli.data.formats.structure_files import STRUCTURE_SUFFIXES, read_structure
from foldcli.errors import FoldcliError, InputError
from foldcli.files import write_atomic
from foldcli.folding.amber import relax
from foldcli.folding.relax import describe, require_relaxable
from foldcli.protein.residues import C, N
from foldcli.protein.structure import Structure
from foldcli.report.pdb import pdb_text
from foldcli.report.provenance import RELAXED


def relax_file(path: Path, cuda: bool) -> str:
    """Write NAME_relaxed.pdb or .cif, as the file is, beside it, and return a line on what was done.

    InputError: no such file, no chain, residues missing in between, or the file to write exists; FoldcliError:
    OpenMM cannot relax it.
    """
    target = _target(path)
    if target.exists():
        raise InputError(f"{target}: exists; move it away to relax {path.name} again")
    structure = read_chains(path)
    require_relaxable(f"{path}: foldcli relax", structure.chain_lengths or [len(structure.sequence)], cuda)
    try:
        found = relax(structure, cuda)
    except Exception as error:  # whatever OpenMM raises is about this file
        raise FoldcliError(f"{path}: not relaxed: {' '.join(str(error).split()) or type(error).__name__}") from error
    said = describe(found)
    remarks = [f"Input: {path.name}, of which the protein alone.", f"{RELAXED}: {said}."]
    text = pdb_text(found.structure, remarks, path.name)
    if target.suffix == ".cif":
        text = gemmi.read_pdb_string(text).make_mmcif_document().as_string()
    write_atomic(target, text)
    return f"{path}: {target.name}: {said}"


def _target(path: Path) -> Path:
    suffix = next((end for end in STRUCTURE_SUFFIXES if path.name.lower().endswith(end)), "")
    if not suffix:
        raise InputError(f"{path}: no structure; expected a name that ends in {', '.join(STRUCTURE_SUFFIXES)}")
    kind = ".cif" if "cif" in suffix else ".pdb"
    return path.with_name(f"{path.name[: -len(suffix)]}_relaxed{kind}")


def read_chains(path: Path) -> Structure:
    """The protein chains of a file, their ends without atoms left out; a chain alone is cyclic if its ends are bonded.

    Chains keep their names where a PDB file can hold them. InputError: a residue in between has no atoms, or one of
    several chains is a ring.
    """
    deposition = read_structure(path)
    polymers = [polymer for polymer in deposition.polymers if polymer.has_backbone]
    if not polymers:
        raise InputError(f"{path}: has no protein chain")
    parts = [_read_chain(path, deposition, polymer) for polymer in polymers]
    names = tuple(polymer.chain for polymer in polymers)
    names = names if all(len(name) == 1 for name in names) else ()
    if len(parts) == 1:
        return replace(parts[0], chain_names=names)
    if rings := [polymer.chain for polymer, part in zip(polymers, parts, strict=True) if part.cyclic]:
        raise InputError(f"{path}: the ends of chain {rings[0]} are bonded; give a file of that chain alone")
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("positions", "mask", "residue_index", "b_factor")
    }
    lengths = tuple(len(part.sequence) for part in parts)
    return Structure("".join(part.sequence for part in parts), **arrays, chain_lengths=lengths, chain_names=names)


def _read_chain(path: Path, deposition: Deposition, polymer: Polymer) -> Structure:
    places = sorted(polymer.residues)
    span = range(places[0], places[-1] + 1)
    if gap := sorted(set(span) - set(places)):
        raise InputError(f"{path}: residue {gap[0] + 1} of chain {polymer.chain} has no atoms; build it first")
    chain = deposition.chain(polymer)
    positions, mask = chain.positions[places], chain.mask[places]
    closing = float(np.linalg.norm(positions[-1, C] - positions[0, N]))
    return Structure(
        chain.sequence[span.start : span.stop], positions, mask, _numbers(polymer, places), _b_factors(polymer, places),
        cyclic=bool(mask[-1, C] and mask[0, N]) and closing < LONGEST_BOND,
    )  # fmt: skip


def _numbers(polymer: Polymer, places: list[int]) -> np.ndarray:
    """The residues' numbers in the file if they go up by one, else from 1: no bond may cross a jump of the numbers."""
    numbers = np.array([polymer.residues[place].seqid.num for place in places])
    return numbers if (np.diff(numbers) == 1).all() else np.arange(1, len(places) + 1)


def _b_factors(polymer: Polymer, places: list[int]) -> np.ndarray:
    """Each residue's mean B factor."""
    residues = (polymer.residues[place] for place in places)
    return np.array([np.mean([atom.b_iso for atom in residue]) for residue in residues], np.float32)
