"""Rows of chains' alignments are paired by the species in their headers."""

import numpy as np
import pytest

from foldcli.data.pairing import pair_by_species
from foldcli.data.query import Alignment
from foldcli.data.species import species_of
from foldcli.protein.residues import GAP, residue_types


@pytest.mark.parametrize(
    ("title", "species"),
    [
        ("sp|P69905|HBA_HUMAN", "HUMAN"),
        ("tr|A0A0K0ME10|A0A0K0ME10_9STAP/1-51 [subseq from] ParR OS=Staphylococcus OX=1295 GN=x", "9STAP"),
        ("sp|P0C2L1_1|A3X1_LOXLA_0", "LOXLA"),
        ("HBB_COLLI/1-146", "COLLI"),
        ("UniRef90_UPI000A061283/1-51 protein n=1 Tax=Mammaliicoccus sciuri TaxID=1296 RepID=UPI000A061283", "1296"),
        ("P69905 Hemoglobin OS=Homo sapiens OX=9606", "9606"),
        ("SRR6202048_823629", ""), ("MGYP000048211747/1-51", ""), ("UniRef100_A0A1", ""), ("1ABC_A", ""), ("101", ""),
        ("", ""), ("  ", ""),
    ],
)  # fmt: skip
def test_species(title, species):
    assert species_of(title) == species


def alignment(*rows: tuple[str, str]) -> Alignment:
    tokens = np.stack([np.array([GAP if x == "-" else residue_types(x)[0] for x in row], np.int8) for _, row in rows])
    titles = tuple(f"{'X'}_{species}" if species else str(number) for number, (species, _) in enumerate(rows))
    return Alignment(tokens, np.arange(tokens.size, dtype=np.int32).reshape(tokens.shape), titles)


FIRST = alignment(
    ("", "MADQ"), ("HUMAN", "MAAA"), ("HUMAN", "MADA"), ("MOUSE", "MADE"), ("COLLI", "MA--"), ("", "MAD-")
)
SECOND = alignment(("", "LTE"), ("MOUSE", "LAA"), ("MOUSE", "LTA"), ("HORSE", "LTL"), ("HUMAN", "LLL"))


def rows_of(alignment: Alignment, paired: Alignment) -> list[int]:
    """Which row each is; -1 for gaps alone."""
    known = [row.tobytes() for row in alignment.tokens]
    return [known.index(row.tobytes()) if row.tobytes() in known else -1 for row in paired.tokens]


def test_most_alike_rows_of_a_species_are_paired():
    first, second = pair_by_species([FIRST, SECOND], [1, 1])
    # of HUMAN row 2 is more like the query than row 1; HUMAN: 2 * 4 comes after MOUSE: 3 * 2
    assert (rows_of(FIRST, first), rows_of(SECOND, second)) == ([0, 3, 2], [0, 2, 4])
    assert (first.titles, second.titles) == (("0", "X_MOUSE", "X_HUMAN"), ("0", "X_MOUSE", "X_HUMAN"))
    assert np.array_equal(first.deletions, FIRST.deletions[[0, 3, 2]])


def test_copies_count_as_chains_and_a_chain_without_partner_has_gaps():
    first, second = pair_by_species([FIRST, SECOND], [2, 1])
    # HUMAN: 2 * 2 * 4 comes before MOUSE: 3 * 3 * 2; COLLI is in both copies of the first, HORSE in one chain
    assert (rows_of(FIRST, first), rows_of(SECOND, second)) == ([0, 2, 3, 4], [0, 4, 2, -1])
    assert (second.tokens[-1] == GAP).all()
    assert not second.deletions[-1].any()


def test_a_species_with_too_many_rows_is_left_out():
    many = alignment(("", "MADQ"), *[("MOUSE", f"MAD{letter}") for letter in "ACDE" * 151])
    first, _ = pair_by_species([many, SECOND], [1, 1])
    assert first.depth == 1
