"""Searching in blocks finds what HMMER finds at once, and gives the alignment that HMMER writes."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyhmmer import hmmer
from pyhmmer.easel import DigitalSequenceBlock, TextSequence
from pyhmmer.plan7 import IterationResult

from foldcli.data.formats.alignment import parse_a3m, parse_stockholm
from foldcli.search.chains import KnownChain
from foldcli.search.database import AMINO, Database
from foldcli.search.jackhmmer import DOMAIN_EVALUE, EVALUE, FILTERS, Jackhmmer, equal_width
from foldcli.search.progress import Stopped

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
WHERE = Path("found.a3m")


def quiet(detail: str, share: float | None = None) -> None:
    """Ignore the progress of a search."""


def homolog(sequence: str, draw: random.Random, changed: float) -> str:
    """A homolog: letters substituted, deleted and inserted, between unrelated ends."""
    letters = []
    for letter in sequence:
        changes = [[draw.choice(LETTERS)], [], [letter, *draw.choices(LETTERS, k=3)]]
        letters += draw.choice(changes) if draw.random() < changed else [letter]
    return "".join([*draw.choices(LETTERS, k=20), *letters, *draw.choices(LETTERS, k=20)])


def write(path: Path, sequence: str, seed: int, count: int = 60) -> Path:
    """Write a database of homologs, some with two copies of the sequence, and as many shuffled sequences."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for k in range(count):
            kin = homolog(sequence, draw, draw.uniform(0.05, 0.6)) * (1 + (k % 7 == 0))
            print(f">kin{k}\n{kin}\n>other{k}\n{''.join(draw.sample(kin, len(kin)))}", file=file)
    return path


def in_one_go(path: Path, sequence: str, rounds: int) -> IterationResult:
    """Search with pyhmmer's jackhmmer, which holds the whole database, with the same thresholds."""
    database, (f1, f2, f3) = Database(path), FILTERS
    targets = DigitalSequenceBlock(AMINO, [one for block in database.blocks() for one in database.sequences(block)[0]])
    results = hmmer.jackhmmer(
        TextSequence(name="query", sequence=sequence).digitize(AMINO), targets, max_iterations=rounds,
        checkpoints=False, cpus=1, F1=f1, F2=f2, F3=f3,
        E=EVALUE, incE=EVALUE, domE=DOMAIN_EVALUE, incdomE=DOMAIN_EVALUE,
    )  # fmt: skip
    return next(results)


@given(seed=st.integers(0, 2**32 - 1), length=st.integers(30, 90), rounds=st.integers(1, 5))
@example(seed=44786505, length=32, rounds=4)  # a sequence that is lost in one round and found again in the next
@example(seed=44786505, length=30, rounds=5)
@settings(max_examples=15)
def test_what_is_found_is_what_hmmer_writes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, length: int, rounds: int
) -> None:
    sequence = "".join(random.Random(seed).choices(LETTERS, k=length))
    path = write(tmp_path_factory.getbasetemp() / "db.fasta", sequence, seed)
    found = parse_a3m(Jackhmmer(Database(path, most=1000), rounds, 2).search(sequence, quiet), WHERE)
    stockholm = io.BytesIO()
    in_one_go(path, sequence, rounds).msa.write(stockholm, "pfam")
    true = parse_stockholm(stockholm.getvalue().decode(), WHERE)
    assert found.query == true.query == sequence
    assert len(true.letters) > 5
    np.testing.assert_array_equal(found.letters, true.letters)
    np.testing.assert_array_equal(found.deletions, true.deletions)


cells = st.tuples(st.sampled_from(LETTERS + "-"), st.text("acdefxy", max_size=3))
rows = st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=6))


@given(rows)
def test_rows_of_equal_width_say_what_a3m_says(made: list[list[tuple[str, str]]]) -> None:
    alignment = equal_width(["".join(letter + inserted for letter, inserted in row) for row in made])
    assert alignment.reference is not None
    columns = [k for k, mark in enumerate(alignment.reference) if mark == "x"]
    for row, text in zip(made, alignment.alignment, strict=True):
        assert len(text) == len(alignment.reference)
        assert [text[k] for k in columns] == [letter for letter, _ in row]
        assert text.replace(".", "") == "".join(letter + inserted for letter, inserted in row)


def test_a_family_is_found_among_strangers(chains: list[KnownChain], tmp_path: Path) -> None:
    sequence, said = chains[0].sequence, []
    path = write(tmp_path / "db.fasta", sequence, seed=1)
    search = Jackhmmer(Database(path), 1, 2)
    found = parse_a3m(search.search(sequence, lambda detail, share=None: said.append((detail, share))), WHERE)
    assert len(found.letters) > 40
    assert said[-1] == ("round 1: 120 sequences searched", 1.0)
    assert search.search("GSGSGSPGTAGSGSPAGTGSGS", quiet).count(">") == 1


def test_a_search_that_nobody_waits_for_ends(chains: list[KnownChain], tmp_path: Path) -> None:
    def stop(detail: str, share: float | None = None) -> None:
        raise Stopped

    search = Jackhmmer(Database(write(tmp_path / "db.fasta", chains[0].sequence, 1)), 1, 2)
    with pytest.raises(Stopped):
        search.search(chains[0].sequence, stop)
