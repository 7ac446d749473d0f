"""Letters of a protein as people write them, brought down to the 20 amino acids and X."""

from typing import Final

from foldcli.errors import InputError
from foldcli.protein.chain_names import chain_name
from foldcli.protein.residues import LETTERS_X

# Ambiguous and rare letters, mapped as AlphaFold maps HHblits' letters.
STANDS_FOR: Final = {"B": "D", "J": "X", "O": "X", "U": "C", "Z": "E"}
AS_ALPHAFOLD: Final = str.maketrans(STANDS_FOR)
SPECIAL = {"*": "a stop: take it out", "-": "a gap: take it out"}
NUCLEOTIDES, FEWEST_NUCLEOTIDES = set("ACGTUN"), 10  # a shorter one may well be a peptide
LIKE_DNA: Final = "looks like DNA or RNA: each letter is folded as an amino acid; give the protein's sequence"
POSITIONS_NAMED = 8


def chains_of(written: str, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sequence of each chain that was written, joined by ':', and lines on what is not folded as written.

    InputError as of `sequence_of`; it and the lines name the chain where there are several.
    """
    chains = written.split(":")
    if len(chains) == 1:
        sequence, notes = sequence_of(written, where)
        return (sequence,), notes
    sequences, notes = list[str](), ()
    for number, chain in enumerate(chains):
        name = f"chain {chain_name(number)}"
        if not chain.strip("*"):
            raise InputError(f"{where}: {name} has no sequence: ':' joins two chains; take it out, or give the chain")
        sequence, of_chain = sequence_of(chain, f"{where}: {name}")
        sequences.append(sequence)
        notes += tuple(f"{name}: {note}" for note in of_chain)
    return tuple(sequences), notes


def sequence_of(written: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The sequence that was written, in `LETTERS_X`, and a line on each thing that is not folded as written.

    InputError, starting with `where`, if there is no sequence, only X, or an invalid letter.
    """
    # only ASCII: some other letters have an upper case among A to Z
    letters = "".join(letter.upper() if letter.isascii() else letter for letter in written)
    whole = letters.rstrip("*")
    _check(whole, where)
    sequence = whole.translate(AS_ALPHAFOLD)
    if set(sequence) == {"X"}:
        raise InputError(f"{where} has only X; give at least one residue that is known")
    return sequence, tuple(_notes(whole, sequence, len(letters) - len(whole)))


def _check(letters: str, where: str) -> None:
    if not letters:
        raise InputError(f"{where} has no sequence")
    for position, letter in enumerate(letters, start=1):
        if letter not in LETTERS_X and letter not in STANDS_FOR:
            meaning = SPECIAL.get(letter, "expected one of the 20 amino acids, B, J, O, U, X or Z")
            raise InputError(f"{where} has {letter!r} at position {position}; {meaning}")


def _notes(written: str, sequence: str, stops: int) -> list[str]:
    notes = [
        f"{letter} at {_positions(written, letter)} is folded as {meant}"
        for letter, meant in STANDS_FOR.items() if letter in written
    ]  # fmt: skip
    if "X" in sequence:
        notes.append(f"X at {_positions(sequence, 'X')} is unknown: it has no coordinates")
    if stops:
        notes.append("the * at the end, a stop, is left out")
    if len(written) >= FEWEST_NUCLEOTIDES and len(set(written)) > 2 and set(written) <= NUCLEOTIDES:
        notes.append(LIKE_DNA)
    return notes


def _positions(letters: str, letter: str) -> str:
    """The positions of a letter in words, from 1."""
    found = [str(position) for position, other in enumerate(letters, start=1) if other == letter]
    more = f" and {len(found) - POSITIONS_NAMED} more" if len(found) > POSITIONS_NAMED else ""
    return f"position{'s' * (len(found) > 1)} {', '.join(found[:POSITIONS_NAMED])}{more}"
