"""Records of FASTA and A3M text, which share their layout."""

import io
import re

from Bio.SeqIO.FastaIO import SimpleFastaParser

INDENTED_HEADER = re.compile(r"^[ \t]+>", re.MULTILINE)


def fasta_records(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Split text into what precedes the first header line, and records of header and letters without white space."""
    text = INDENTED_HEADER.sub(">", text)
    # Biopython skips text before the first header; our readers refuse it
    before = ("\n" + text).partition("\n>")[0]
    parsed = SimpleFastaParser(io.StringIO(text))
    return before, [(title.strip(), "".join(letters.split())) for title, letters in parsed]
