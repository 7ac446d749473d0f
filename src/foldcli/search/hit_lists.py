"""Read hit lists of HHsearch (.hhr) and of MMseqs2 or BLAST (.m8)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.data.formats.names import safe_name
from foldcli.data.formats.text_files import list_files, read_text
from foldcli.errors import InputError

HIT_SUFFIXES = (".hhr", ".m8")
M8_COLUMNS, M8_EVALUE = 12, 10
# A row of an alignment: Q or T, name, number of the first residue, letters.
HHR_ROW = re.compile(r"^([QT]) (\S+) +(\d+) ([A-Za-z-]+) +\d+ \(\d+\)", re.MULTILINE)
HHR_OTHER_ROWS = ("Consensus", "ss_pred", "ss_dssp", "ss_conf")


@dataclass(frozen=True)
class ListedHit:
    """A hit of a list; name: PDB id and chain, as 1abc_A.

    query and known: the rows of its alignment, '-' for a gap, starting at residue `first` of the query, from 0; both
    are empty where the list has no alignments.
    """

    name: str
    evalue: float
    first: int = 0
    query: str = ""
    known: str = ""

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Aligned pairs: query columns, and residues of the chain counted from the start of the alignment."""
        in_query, in_known = (np.frombuffer(row.encode(), "S1") != b"-" for row in (self.query, self.known))
        both = in_query & in_known
        return (self.first - 1 + in_query.cumsum())[both], (in_known.cumsum() - 1)[both]


def read_lists(path: Path) -> dict[str, list[ListedHit]]:
    """Read the hits of each query from a list or from a folder of lists named after records.

    The hits of an .hhr file come best first, those of an .m8 file in the file's order. If all hits of a list are of one
    query, the key is "", whatever its name. InputError: no such file, or not a hit list.
    """
    if path.is_dir():
        files = list_files(path, HIT_SUFFIXES)
        if not files:
            raise InputError(f"{path}: the folder has no hits; expected files named NAME.hhr or NAME.m8")
        return {safe_name(file.stem, file.stem): [hit for _, hit in _read(file)] for file in files}
    found: dict[str, list[ListedHit]] = {}
    for query, hit in _read(path):
        found.setdefault(query, []).append(hit)
    return found if len(found) > 1 else {"": [hit for hits in found.values() for hit in hits]}


def _read(path: Path) -> list[tuple[str, ListedHit]]:
    if path.suffix.lower() not in HIT_SUFFIXES:
        raise InputError(f"{path}: is no list of hits; expected a file that ends in {' or '.join(HIT_SUFFIXES)}")
    text = read_text(path)
    return list(_m8(text, path) if path.suffix.lower() == ".m8" else _hhr(text, path))


def _m8(text: str, path: Path) -> Iterator[tuple[str, ListedHit]]:
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if len(fields) < M8_COLUMNS:
                raise ValueError(f"{len(fields)} columns")
            yield safe_name(fields[0], fields[0]), ListedHit(fields[1], float(fields[M8_EVALUE]))
        except ValueError as error:
            raise InputError(f"{path}: line {number} is no hit ({error}); expected {M8_COLUMNS} columns") from None


def _hhr(text: str, path: Path) -> list[tuple[str, ListedHit]]:
    """Parse HHsearch's list, sorted by Sum_probs as in AlphaFold."""
    head, *blocks = re.split(r"^No \d+ *$", text, flags=re.MULTILINE)
    query = re.search(r"^Query +(\S+)", head, re.MULTILINE)
    if query is None:
        raise InputError(f"{path}: has no line 'Query NAME'; expected what hhsearch writes")
    hits = sorted((_parse_hit(block, f"{path}: hit {k}") for k, block in enumerate(blocks, 1)), key=lambda hit: -hit[0])
    return [(safe_name(query[1], query[1]), hit) for _, hit in hits]


def _parse_hit(block: str, where: str) -> tuple[float, ListedHit]:
    """Parse one hit of HHsearch's list: its Sum_probs, and the hit."""
    name = re.search(r"^>(\S+)", block, re.MULTILINE)
    evalue, probabilities = (re.search(rf"\b{key}=(\d\S*)", block) for key in ("E-value", "Sum_probs"))
    rows = [row for row in HHR_ROW.findall(block) if row[1] not in HHR_OTHER_ROWS]
    query, known = ("".join(row[3] for row in rows if row[0] == kind).upper() for kind in "QT")
    if not (name and evalue and probabilities and query) or len(query) != len(known):
        raise InputError(f"{where} has no whole alignment; the file was cut, make it again")
    first = next(int(row[2]) for row in rows if row[0] == "Q")
    return float(probabilities[1]), ListedHit(name[1], float(evalue[1]), first - 1, query, known)
