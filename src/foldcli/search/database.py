"""Stream a FASTA database of any size in blocks of whole records."""

import contextlib
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pyhmmer.easel import Alphabet, DigitalSequenceBlock, SequenceFile

from foldcli.data.formats.text_files import GZIP
from foldcli.errors import InputError

AMINO = Alphabet.amino()
BLOCK = 1 << 22
LONGEST_RECORD = 1 << 26
# The longest sequence that HMMER aligns.
LONGEST_SEQUENCE = 100_000
SAMPLES, SAMPLE = 64, 1 << 16
STRANGE = re.compile(rb"[^A-Za-z*\s]")
# Easel decodes names as UTF-8, which the headers of old databases are not.
PLAIN = bytes(code if code < 128 else ord("?") for code in range(256))


@dataclass(frozen=True)
class Block:
    """Whole records of the file; line: their first line, from 1; share: fraction of the file read up to their end."""

    text: bytes
    line: int
    share: float


def _beginning(text: bytes) -> str:
    """The first characters of a file, for a message."""
    return text.splitlines()[0][:20].decode("ascii", "replace")


class Database:
    """A FASTA file, gzipped or not, read about `most` bytes at a time; InputError if it is not FASTA."""

    def __init__(self, path: Path, most: int = BLOCK) -> None:
        self.path, self.most = path, most
        with self._opened() as (_, file):
            first = file.read(1 << 16).lstrip()
        if not first.startswith(b">"):
            seen = f"starts with {_beginning(first)!r}" if first else "the file is empty"
            raise InputError(f"--db {path}: line 1: {seen}; expected FASTA, with a header line that starts with '>'")

    @property
    def digest(self) -> str:
        """A fingerprint of the content: a hash of its size and of 64 KiB samples spread over the file."""
        digest = hashlib.sha256()
        with self._opened() as (raw, _):
            size = os.fstat(raw.fileno()).st_size
            digest.update(str(size).encode())
            for k in range(SAMPLES):
                raw.seek(max(0, size - SAMPLE) * k // (SAMPLES - 1))
                digest.update(raw.read(SAMPLE))
        return digest.hexdigest()

    def blocks(self) -> Iterator[Block]:
        """Yield all records in order; InputError if the file is truncated or cannot be read."""
        with self._opened() as (raw, file):
            size, line, rest = max(1, os.fstat(raw.fileno()).st_size), 1, b""
            while data := file.read(self.most):
                rest += data
                end = rest.rfind(b"\n>") + 1
                if end:
                    yield Block(rest[:end], line, raw.tell() / size)
                    line += rest.count(b"\n", 0, end)
                    rest = rest[end:]
                if len(rest) > LONGEST_RECORD:
                    raise InputError(f"{self.path}: line {line}: a record of more than {LONGEST_RECORD >> 20} MiB")
            if rest:
                yield Block(rest, line, 1.0)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, BinaryIO | gzip.GzipFile]]:
        """Open the raw file, and its decompressed content."""
        try:
            with self.path.open("rb") as raw:
                packed = raw.read(2) == GZIP
                raw.seek(0)
                yield raw, gzip.GzipFile(fileobj=raw) if packed else raw
        except FileNotFoundError:
            raise InputError(f"--db {self.path}: no such file") from None
        except EOFError:
            raise InputError(f"{self.path}: is cut off: the packed file has no end") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{self.path}: is damaged: {error}") from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None

    def sequences(self, block: Block) -> tuple["DigitalSequenceBlock[Any]", list[str]]:
        """Digitise a block for HMMER, without sequences longer than HMMER allows.

        Records that HMMER cannot read are passed over: a line on each, with the place of its invalid letter.
        """
        try:
            return _digitised(block.text), []
        except ValueError:
            faults = [(record, _fault(record, line)) for record, line in _records(block)]
        good = b"".join(record for record, fault in faults if not fault)
        try:
            return _digitised(good), [f"{self.path}: {fault}" for _, fault in faults if fault]
        except ValueError as error:
            raise InputError(f"{self.path}: line {block.line} or later: {error}") from None


def _digitised(text: bytes) -> "DigitalSequenceBlock[Any]":
    if not text:
        return DigitalSequenceBlock(AMINO)
    with SequenceFile(io.BytesIO(text.translate(PLAIN)), "fasta", digital=True, alphabet=AMINO) as file:
        found = [one for one in file if len(one) <= LONGEST_SEQUENCE]
    return DigitalSequenceBlock(AMINO, found)


def _records(block: Block) -> Iterator[tuple[bytes, int]]:
    """The records of a block, each with its first line's number."""
    line = block.line
    for record in re.split(rb"(?m)^(?=>)", block.text):
        if record.strip():
            yield record, line
        line += record.count(b"\n")


def _fault(record: bytes, first: int) -> str:
    """Why HMMER cannot read a record, "" if it can; first: the number of its first line."""
    for number, line in enumerate(record.splitlines(), start=first):
        if line.startswith(b">") and not line[1:].strip():
            return f"line {number}: a header without a name"
        strange = None if line.startswith(b">") else STRANGE.search(line)
        if strange:
            letter, position = repr(strange[0].decode("latin-1")), strange.start() + 1
            return f"line {number} has {letter} at position {position}; expected a letter"
    return ""
