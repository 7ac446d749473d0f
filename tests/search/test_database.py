"""FASTA databases: every record comes once for any block size, and errors name the line."""

import gzip
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyhmmer.easel import DigitalSequence

from foldcli.errors import InputError
from foldcli.search.database import Database

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
records = st.lists(st.tuples(names, st.text("ACDEFGHIKLMNPQRSTVWYBXZacd", max_size=30)), min_size=1, max_size=12)


def sequences(path: Path) -> list[DigitalSequence]:
    database = Database(path)
    return [one for block in database.blocks() for one in database.sequences(block)[0]]


@given(records, st.integers(1, 40), st.integers(1, 60), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_every_record_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str]], width: int, most: int, packed: bool, end: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "db.fasta"
    lines = [line for name, text in made for line in (f">{name} x > y", *textwrap.wrap(text, width))]
    data = (end.join(lines) + end).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    database = Database(path, most)
    blocks = list(database.blocks())
    found = [(one.name, one.textize().sequence) for block in blocks for one in database.sequences(block)[0]]
    assert found == [(name, text.upper()) for name, text in made]
    starts = [sum(len(block.text) for block in blocks[:k]) for k in range(len(blocks))]
    assert [block.line for block in blocks] == [1 + data[:start].count(b"\n") for start in starts]
    assert blocks[-1].share == 1


PACKED = gzip.compress(b">a\n" + bytes(range(65, 90)) * 999)
FAULTS = {
    "line 1: the file is empty": b"",
    "line 1: starts with 'ACDEF'; expected FASTA": b"ACDEF",
    "line 1: starts with 'PK": b"PK\x03\x04\x00\xff",
    "is cut off": PACKED[:-30],
    "is damaged": PACKED[:-8] + bytes(8),
}


@pytest.mark.parametrize("message", FAULTS)
def test_what_is_no_database_is_named(message: str, tmp_path: Path) -> None:
    path = tmp_path / "db.fasta"
    path.write_bytes(FAULTS[message])
    with pytest.raises(InputError) as caught:
        sequences(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_database_is_known_by_its_content(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.fasta", "b.fasta", "c.fasta")]
    for path, letter in zip(paths, "AAC", strict=True):
        path.write_text(f">a\n{letter}\n" * 1000)
    same, again, other = (Database(path).digest for path in paths)
    assert same == again != other


def test_old_headers_and_giants_are_taken_as_they_can_be(tmp_path: Path) -> None:
    path = tmp_path / "db.fasta"
    path.write_bytes(b">caf\xe9\nACD\n>giant\n" + b"A" * 100_001 + b"\n>c\nACD*\n")
    assert [one.name for one in sequences(path)] == ["caf?", "c"]


def test_a_record_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "db.fasta"
    path.write_bytes(b">a\n\nACD\n>b\nA1-D\n>\nACD\n>c\nACE\n")
    database = Database(path)
    read = [database.sequences(block) for block in database.blocks()]
    assert [one.name for found, _ in read for one in found] == ["a", "c"]
    assert [fault for _, faults in read for fault in faults] == [
        f"{path}: line 5 has '1' at position 2; expected a letter", f"{path}: line 6: a header without a name"
    ]  # fmt: skip
    path.write_bytes(b">b\nA1D\n")
    (block,) = database.blocks()
    assert len(database.sequences(block)[0]) == 0
