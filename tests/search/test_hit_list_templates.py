"""Templates of a hit list are aligned as in the list; hits that AlphaFold leaves out are named with the reason."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldcli.data.query import Query
from foldcli.protein.residues import CA, LETTERS, LETTERS_X
from foldcli.search.hit_list_templates import HitListTemplates, realign
from foldcli.search.hit_lists import ListedHit
from foldcli.search.hits import Sequences
from foldcli.search.templates import CUT_OFF, FoundTemplates
from tests.search.test_hit_lists import hhr, row
from tests.search.test_own_templates import OTHER, SEQUENCE, entry

QUERY = "GSGSG" + SEQUENCE[:12] + SEQUENCE[16:] + "HHHHHH"
ALIGNED = ListedHit("1ABC_B", 1e-9, 5, SEQUENCE[:12] + "----" + SEQUENCE[16:], SEQUENCE)


def find(folder: Path, *hits: ListedHit, sequence: str = QUERY, latest: str = "") -> FoundTemplates:
    (folder / "hits.hhr").write_text(hhr(list(hits)))
    return HitListTemplates(folder / "hits.hhr", folder, latest).find(Query("q", "", sequence, "q.fasta: record 1"))


@pytest.mark.parametrize("chain", [SEQUENCE, "MGSSHH" + SEQUENCE, "MGSSHH" + SEQUENCE[:25] + SEQUENCE[26:]])
def test_a_hit_stands_as_its_alignment_says(tmp_path: Path, chain: str) -> None:
    """Also if the file has residues before it, or another version of the chain."""
    (tmp_path / "1abc.cif").write_text(entry(chain))
    (shown,) = find(tmp_path, ALIGNED).shown
    offset = chain.index(SEQUENCE[:12])
    np.testing.assert_allclose(
        shown.template.positions[5:17, CA, 0], 3.8 * np.arange(offset + 1, offset + 13), rtol=1e-6
    )
    np.testing.assert_allclose(shown.template.positions[17, CA, 0], 3.8 * (offset + 17), rtol=1e-6)
    assert not shown.template.mask[:5].any() and not shown.template.mask[-6:].any()
    assert shown.hit.evalue == 1e-9 and shown.hit.identity == 1.0


def test_a_hit_without_an_alignment_is_aligned(tmp_path: Path) -> None:
    (tmp_path / "1abc.cif").write_text(entry("MGSSHH" + SEQUENCE))
    (tmp_path / "hits.m8").write_text(row("101", "1abc_B"))
    mutant = SEQUENCE.replace("F", "Y")
    templates = HitListTemplates(tmp_path / "hits.m8", tmp_path, "")
    (shown,) = templates.find(Query("q", "", mutant, "q.fasta: record 1")).shown
    np.testing.assert_allclose(shown.template.positions[:, CA, 0], 3.8 * np.arange(7, 7 + 32), rtol=1e-6)


@pytest.mark.parametrize(
    ("hit", "reason"),
    [
        (ListedHit("9XYZ_A", 1.0, 5, QUERY[5:25], QUERY[5:25]), "has no 9xyz.cif"),
        (ListedHit("2CUT_B", 1.0, 5, QUERY[5:25], QUERY[5:25]), "2cut.cif: is no mmCIF file, or was cut"),
        (
            ListedHit("3NEW_B", 1.0, 5, QUERY[5:25], QUERY[5:25]),
            "3new.cif: was released on 2011-07-13, after 2010-01-01",
        ),
        (ListedHit("1ABC_B", 1.0, 5, OTHER, OTHER), "its alignment is of another sequence than q"),
        (ListedHit("1ABC_B", 1.0, 5, QUERY[5:25], OTHER[:20]), "has another sequence than the one in the list"),
        (ListedHit("1ABC_B", 1.0, 5, SEQUENCE[:6], SEQUENCE[:6]), "has 6 residues, fewer than 10"),
    ],
)
def test_what_is_not_used_is_named(tmp_path: Path, hit: ListedHit, reason: str) -> None:
    (tmp_path / "1abc.cif").write_text(entry())
    (tmp_path / "2cut.cif").write_text(entry()[:-900])
    (tmp_path / "3new.cif").write_text(entry().replace("2008-02-05", "2012-05-01"))
    found = find(tmp_path, hit, ALIGNED, latest="2010-01-01")
    assert [shown.template.name for shown in found.shown] == ["1ABC_B"]
    (line,) = found.unused
    assert line.startswith(f"{hit.name}: ") and reason in line


def test_a_hit_over_a_tenth_of_the_query_or_all_of_it_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "1abc.cif").write_text(entry())
    same = ListedHit("1ABC_B", 1e-9, 0, SEQUENCE, SEQUENCE)
    assert find(tmp_path, same, sequence=SEQUENCE).unused == [
        "1ABC_B: is the query itself; name its file with --template to use it"
    ]
    (line,) = find(tmp_path, same, sequence=SEQUENCE + "G" * 300).unused
    assert line == "1ABC_B: aligns to 32 of 332 residues, a tenth or less"


def test_the_key_follows_the_files_of_a_query_s_hits(tmp_path: Path) -> None:
    query = Query("q", "", QUERY, "q.fasta: record 1")
    (tmp_path / "hits.hhr").write_text(hhr([ALIGNED]))
    digests = []
    for text, other in ((entry(), "a"), (entry(), "b"), (entry("M" + SEQUENCE), "b")):
        (tmp_path / "1abc.cif").write_text(text)
        (tmp_path / "9xyz.cif").write_text(other)
        digests.append(HitListTemplates(tmp_path / "hits.hhr", tmp_path, "").digest(query))
    assert digests[0] == digests[1] != digests[2]


@settings(deadline=None)
@given(st.text(LETTERS_X, min_size=1, max_size=30), st.text(LETTERS_X, min_size=1, max_size=30))
def test_realignment_gives_each_letter_one_residue_in_order(part: str, sequence: str) -> None:
    places = realign(part, sequence)
    aligned = places[places >= 0]
    assert len(places) == len(part) and (np.diff(aligned) > 0).all() and (aligned < len(sequence)).all()


def test_realignment_finds_at_least_what_phmmer_finds() -> None:
    """Count residues aligned to their origin, for parts of 12 to 200 letters with a few mutations."""
    draw, by_pairs, by_phmmer = random.Random(0), 0, 0
    for length in [12, 20, 40, 80, 200] * 6:
        sequence = "".join(draw.choices(LETTERS, k=length + 40))
        kept = [k for k in range(20, 20 + length) if draw.random() > 0.02]
        part = "".join(sequence[k] if draw.random() > 0.04 else draw.choice(LETTERS) for k in kept)
        cut = draw.randrange(len(part))
        part, origin = part[:cut] + "W" + part[cut:], np.array([*kept[:cut], -2, *kept[cut:]])
        by_pairs += (realign(part, sequence) == origin).sum()
        for hit in next(Sequences({"chain": sequence}).phmmer([("part", part)], CUT_OFF, 1)):
            by_phmmer += (origin[hit.columns] == hit.places).sum()
    assert by_pairs >= by_phmmer > 0
