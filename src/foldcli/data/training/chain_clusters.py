"""Which chains are alike: from a file, by MMseqs2, or by a plain search where neither is there."""

import re
import shutil
import subprocess
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from foldcli.data.formats.text_files import read_text
from foldcli.errors import FoldcliError, InputError
from foldcli.protein.residues import INDEX, NAMES

# Chains are alike with so many identical residues for each aligned one, over so much of the shorter chain.
IDENTITY, COVERAGE = 0.3, 0.8
# What MMseqs2 says of chains so short, or so plain, that none has a word for it to look up.
NO_WORDS = "No k-mer could be extracted"
# The plain search: letters in a word, width of a band of diagonals, bands aligned, words in one for it to count.
WORD, BAND, CANDIDATES, WORDS_IN_BAND = 3, 16, 10, 2
# BLOSUM62, and the score, gaps at the ends not counted, that each residue of the shorter chain must bring: of 2,000
# pairs of unlike chains one in 1,000 had 0.15, of alike ones 19 in 20.
SCORING, SCORE = gemmi.AlignmentScoring("b"), 0.2
# More residues than any chain has: parts chains in one number with the place in the chain.
STRIDE = 2**17


@dataclass(frozen=True)
class Clustering:
    """A cluster number for each chain, and where they come from, for the user."""

    numbers: list[int]
    how: str


def cluster_chains(names: Sequence[str], sequences: Sequence[str], file: Path | None) -> Clustering:
    """Number the clusters of chains; InputError for a file that cannot be read, FoldcliError if MMseqs2 fails."""
    if file:
        return _from_file(names, file)
    if (program := shutil.which("mmseqs")) and (numbers := _by_mmseqs(sequences, program)):
        return Clustering(numbers, "by MMseqs2 at 30 % identity")
    return Clustering(_plain(sequences), "by shared words and alignment at 30 % identity, without MMseqs2")


def _from_file(names: Sequence[str], file: Path) -> Clustering:
    """OpenFold's file: a line for each cluster, names parted by blanks; who is not named is a cluster of its own."""
    lines = read_text(file).splitlines()
    known = {_plain_name(name): number for number, line in enumerate(lines) for name in line.split()}
    alone = [name for name in names if _plain_name(name) not in known]
    if len(alone) == len(names):
        raise InputError(f"{file}: names none of the chains; expected lines of names such as {names[0]}")
    numbers = {name: len(lines) + k for k, name in enumerate(alone)}
    how = f"of {file}" + (f"; {len(alone)} chains that it does not name are alone" if alone else "")
    return Clustering([known.get(_plain_name(name), numbers.get(name, 0)) for name in names], how)


def _plain_name(name: str) -> str:
    """PDB ids are written in upper or lower case; the names of chains differ by it."""
    entry, _, chain = name.rpartition("_")
    return f"{entry.lower()}_{chain}"


def _by_mmseqs(sequences: Sequence[str], program: str) -> list[int] | None:
    """The cluster of each chain, None where MMseqs2 cannot compare a single one."""
    with tempfile.TemporaryDirectory() as scratch:
        fasta = Path(scratch, "chains.fasta")
        fasta.write_text("".join(f">{k}\n{sequence}\n" for k, sequence in enumerate(sequences)))
        # mode 1: coverage of the member, which is no longer than the chain that it joins
        options = ["--min-seq-id", str(IDENTITY), "-c", str(COVERAGE), "--cov-mode", "1", "-v", "1"]
        command = [program, "easy-cluster", str(fasta), f"{scratch}/result", f"{scratch}/tmp", *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode and NO_WORDS in run.stderr:
            return None
        if run.returncode:
            reason = (run.stderr or run.stdout).strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
            raise FoldcliError(f"{program}: {reason[0]}; give the clusters as a file with --clusters")
        pairs = [line.split("\t") for line in Path(scratch, "result_cluster.tsv").read_text().splitlines()]
    first = {int(member): int(centre) for centre, member in pairs}
    # MMseqs2 leaves out chains that are shorter than its words
    return [first.get(k, k) for k in range(len(sequences))]


def _plain(sequences: Sequence[str]) -> list[int]:
    """Each chain, longest first, joins the first chain that it is like, or is a cluster of its own.

    Looked at are the CANDIDATES chains with most common words of three letters on nearby diagonals, and these are
    aligned over their whole length (BLOSUM62); meant for some thousand chains, a minute for 5,000.
    """
    centres = _Centres()
    numbers: dict[str, int] = {}
    for sequence in sorted(dict.fromkeys(sequences), key=len, reverse=True):
        numbers[sequence] = next(
            (k for k in centres.candidates(sequence) if _alike(centres.sequences[k], sequence)), len(centres.sequences)
        )
        if numbers[sequence] == len(centres.sequences):
            centres.add(sequence)
    return [numbers[sequence] for sequence in sequences]


@dataclass
class _Centres:
    """The first chain of each cluster, and where each word stands in them."""

    sequences: list[str] = field(default_factory=list)
    places: "dict[int, array[int]]" = field(default_factory=lambda: defaultdict(lambda: array("q")))

    def add(self, sequence: str) -> None:
        for place, word in enumerate(_words(sequence).tolist()):
            self.places[word].append(len(self.sequences) * STRIDE + place)
        self.sequences.append(sequence)

    def candidates(self, sequence: str) -> Iterator[int]:
        """Numbers of the chains with most words in common, the best first."""
        hits = [
            np.frombuffer(self.places[word], np.int64) + (len(sequence) - place)
            for place, word in enumerate(_words(sequence).tolist())
            if word in self.places
        ]
        bands, counts = np.unique(np.concatenate(hits or [np.zeros(0, np.int64)]) // BAND, return_counts=True)
        best = np.argsort(-counts, kind="stable")[:CANDIDATES]
        found = (bands[best[counts[best] >= WORDS_IN_BAND]] * BAND // STRIDE).tolist()
        return iter(dict.fromkeys(found))


def _words(sequence: str) -> NDArray[np.int64]:
    letters = np.array([INDEX[letter] for letter in sequence])
    return sum((letters[k : len(letters) - WORD + 1 + k] * 21**k for k in range(WORD)), np.zeros(1, np.int64))


def _alike(centre: str, other: str) -> bool:
    first, second = ([NAMES[INDEX[letter]] for letter in sequence] for sequence in (centre, other))
    result = gemmi.align_string_sequences(first, second, [], SCORING)
    aligned = sum(map(int, re.findall(r"(\d+)M", result.cigar_str())))
    ends = re.findall(r"^(\d+)[ID]|(\d+)[ID]$", result.cigar_str())
    score = result.score - sum(SCORING.gapo + SCORING.gape * int(length) for end in ends for length in end if length)
    alike = aligned >= COVERAGE * len(other) and result.match_count >= IDENTITY * aligned
    return alike and score >= SCORE * len(other)
