"""Structures as PDB files, format version 3.3."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from foldcli.errors import FoldcliError
from foldcli.protein.residues import INDEX, NAMES, C, N
from foldcli.protein.structure import Structure
from foldcli.report.provenance import ascii_line

_REMARK: Final = 6  # 6 to 99 are free text; 1 to 5 have meanings of their own
LAST_RESIDUE: Final = 9999
_LAST_SERIAL: Final = 99999
_RESIDUES_A_LINE: Final = 13
_TEXT: Final = 69  # columns of a line of TITLE and COMPND, after the number of the line and a blank
# The unit cell of a structure that is no crystal, which the format asks for.
_NO_CRYSTAL: Final = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1"


class PdbLimitError(FoldcliError):
    """A structure is too large for the columns of the PDB format; mmCIF can hold it."""


def pdb_text(structure: Structure, remarks: Sequence[str] = (), title: str = "") -> str:
    """The file's text: `structure` as one model, after its title and the remarks, a paragraph each.

    Errors: PdbLimitError for what the columns cannot hold: a residue above 9999, more than 99999 records with a serial,
    a coordinate outside -999.999..9999.999, a chain name of several letters, as beyond 62 chains; FoldcliError where
    there is no atom, or one that is not finite.
    """
    _check(structure)
    lines = [
        "HEADER",  # without class, date and code, which a deposition alone has; programs look for the record itself
        *_paragraph("TITLE", textwrap.wrap(ascii_line(title), width=_TEXT)),
        *_compound_lines(structure, ascii_line(title)),
        "EXPDTA    THEORETICAL MODEL",
        *_remark_lines(remarks),
        *_sequence_lines(structure),
        *_link_lines(structure),
        _NO_CRYSTAL, "MODEL        1", *_atom_lines(structure),
    ]  # fmt: skip
    return "".join(f"{line:<80}\n" for line in [*lines, "ENDMDL", "END"])


def _check(structure: Structure) -> None:
    positions, index = structure.positions[structure.mask], structure.residue_index
    if not len(positions):
        raise FoldcliError("there are no atoms to write; give at least one residue that is not X")
    printed = np.round(positions.astype(np.float64), 3)
    if not np.isfinite(positions).all():
        bad = index[(structure.mask & ~np.isfinite(structure.positions).all(-1)).any(-1)][0]
        raise FoldcliError(f"residue {bad} has a coordinate that is not finite")
    for chain in structure.chains:
        if len(chain.name) != 1:
            raise _too_large(f"chain name '{chain.name}' is not one letter")
        last = max(int(index[chain.span].max()), chain.span.stop - chain.span.start)
        if last > LAST_RESIDUE:
            raise _too_large(f"residue {last} is above {LAST_RESIDUE}")
    atoms, most = len(positions) + len(structure.hydrogens), _LAST_SERIAL - len(structure.chains)
    if atoms > most:  # each chain's TER record takes a serial as well
        raise _too_large(f"{atoms} atoms are more than {most}")
    if printed.min() < -999.999 or printed.max() > 9999.999:
        raise _too_large("a coordinate is outside -999.999..9999.999 angstrom")


def _too_large(what: str) -> PdbLimitError:
    return PdbLimitError(f"the PDB format cannot hold this structure: {what}; use the .cif")


def _paragraph(record: str, lines: Sequence[str]) -> Iterator[str]:
    """Lines of a record that goes on; from the second on they have a number and begin with a blank."""
    for number, line in enumerate(lines, start=1):
        yield f"{record:<10}{line}" if number == 1 else f"{record:<8}{number:>2} {line}"


def _compound_lines(structure: Structure, title: str) -> Iterator[str]:
    """COMPND names each molecule, and its chains; `;` and `:` are its punctuation, and stand in no name."""
    name = title.replace(";", ",").replace(":", " ") or "UNNAMED"
    values = []
    for number, chains in enumerate(structure.entities.values(), start=1):
        names = ", ".join(chain.name for chain in chains)
        molecule = f"{name}, chain{'s' * (len(chains) > 1)} {names}" if structure.chain_lengths else name
        values += [f"MOL_ID: {number};", f"MOLECULE: {molecule};", f"CHAIN: {names};"]
    values[-1] = values[-1].removesuffix(";")
    yield from _paragraph("COMPND", [line for value in values for line in textwrap.wrap(value, width=_TEXT)])


def _remark_lines(remarks: Sequence[str]) -> Iterator[str]:
    if remarks:
        yield f"REMARK {_REMARK:>3}"  # the format asks for an empty first line
    for remark in remarks:
        for line in textwrap.wrap(ascii_line(remark), width=80 - len("REMARK   6 "), subsequent_indent="  "):
            yield f"REMARK {_REMARK:>3} {line}"


def _sequence_lines(structure: Structure) -> Iterator[str]:
    """SEQRES names every residue of each chain, those without atoms too."""
    for chain in structure.chains:
        names = [NAMES[INDEX[letter]] for letter in structure.sequence[chain.span]]
        for number, start in enumerate(range(0, len(names), _RESIDUES_A_LINE), 1):
            chunk = " ".join(names[start : start + _RESIDUES_A_LINE])
            yield f"SEQRES{number:>4} {chain.name} {len(names):>4}  {chunk}"


def _residue(structure: Structure, i: int) -> str:
    """Name, chain and number of a residue, as columns."""
    chain, number = structure.place(i)
    return f"{NAMES[INDEX[structure.sequence[i]]]:>3} {chain}{number:>4}"


def _link_lines(structure: Structure) -> Iterator[str]:
    """LINK names the bond that closes a ring."""
    if structure.cyclic and structure.mask[-1, C] and structure.mask[0, N]:
        ends = [_residue(structure, k) for k in (-1, 0)]
        length = float(np.linalg.norm(structure.positions[-1, C] - structure.positions[0, N]))
        yield f"{'LINK':<12} C   {ends[0]:<25} N   {ends[1]:<12}{'1555':>6} {'1555':>6} {length:5.2f}"


def _atom_lines(structure: Structure) -> Iterator[str]:
    """ATOM records, and TER after the last of each chain."""
    serials = itertools.count(1)
    columns = [_residue(structure, i) for i in range(len(structure.sequence))]
    confidence = [f"{value:6.2f}" for value in structure.b_factor.tolist()]
    chain_of = structure.chain_of.tolist()
    for _, chain in itertools.groupby(structure.atoms(), lambda atom: chain_of[atom[0]]):
        last = ""
        for i, name, position in chain:
            last = columns[i]
            # + 0.0 turns a rounded -0.0 into 0.0
            x, y, z = (round(v, 3) + 0.0 for v in position)
            # a name of four letters, such as HG11, begins a column before the others
            column = name if len(name) == 4 else f" {name}"
            yield (
                f"ATOM  {next(serials):>5} {column:<4} {last}    {x:8.3f}{y:8.3f}{z:8.3f}"
                f"  1.00{confidence[i]}          {name[0]:>2}"
            )
        yield f"TER   {next(serials):>5}      {last}"
