"""Cluster chains by sequence: from a file, with MMseqs2, or with a k-mer search of our own where there is neither."""

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

# Chains belong together at this identity over aligned residues, and this coverage of the shorter chain.
IDENTITY, COVERAGE = 0.3, 0.8
# MMseqs2's message where no chain has a k-mer to look up: all are too short or of low complexity.
NO_KMERS = "No k-mer could be extracted"
# Our k-mer search: letters of a k-mer, width of a band of diagonals, bands that are aligned, fewest hits of a band.
K, BAND, CANDIDATES, HITS_IN_BAND = 3, 16, 10, 2
# BLOSUM62, and the least score per residue of the shorter chain, end gaps free. Tried was 0.15, which is less strict:
# of 2,000 pairs of unrelated chains one in 1,000 reaches it, of related pairs 19 in 20.
SCORING, SCORE = gemmi.AlignmentScoring("b"), 0.2
# More than any chain's length: chain number * STRIDE + position is unique.
STRIDE = 2**17


@dataclass(frozen=True)
class Clustering:
    """A cluster number for each chain, and how they were made, for the user."""

    numbers: list[int]
    how: str


def cluster_chains(names: Sequence[str], sequences: Sequence[str], file: Path | None) -> Clustering:
    """Cluster chains; InputError if the file cannot be read, FoldcliError if MMseqs2 fails."""
    if file:
        return _from_file(names, file)
    if (program := shutil.which("mmseqs")) and (numbers := _by_mmseqs(sequences, program)):
        return Clustering(numbers, "by MMseqs2 at 30 % identity")
    return Clustering(_by_kmers(sequences), "by shared words and alignment at 30 % identity, without MMseqs2")


def _from_file(names: Sequence[str], file: Path) -> Clustering:
    """Read OpenFold's file: one cluster a line, names separated by blanks; a chain not named is its own cluster."""
    lines = read_text(file).splitlines()
    known = {_normal_name(name): number for number, line in enumerate(lines) for name in line.split()}
    alone = [name for name in names if _normal_name(name) not in known]
    if len(alone) == len(names):
        raise InputError(f"{file}: names none of the chains; expected lines of names such as {names[0]}")
    numbers = {name: len(lines) + k for k, name in enumerate(alone)}
    how = f"of {file}" + (f"; {len(alone)} chains that it does not name are alone" if alone else "")
    return Clustering([known.get(_normal_name(name), numbers.get(name, 0)) for name in names], how)


def _normal_name(name: str) -> str:
    """Lower the case of the PDB id only: chain names are case-sensitive."""
    entry, _, chain = name.rpartition("_")
    return f"{entry.lower()}_{chain}"


def _by_mmseqs(sequences: Sequence[str], program: str) -> list[int] | None:
    """Cluster with MMseqs2; None if it finds no k-mer in any chain."""
    with tempfile.TemporaryDirectory() as scratch:
        fasta = Path(scratch, "chains.fasta")
        fasta.write_text("".join(f">{k}\n{sequence}\n" for k, sequence in enumerate(sequences)))
        # cov-mode 1: coverage of the cluster member, which is no longer than the representative
        options = ["--min-seq-id", str(IDENTITY), "-c", str(COVERAGE), "--cov-mode", "1", "-v", "1"]
        command = [program, "easy-cluster", str(fasta), f"{scratch}/result", f"{scratch}/tmp", *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode and NO_KMERS in run.stderr:
            return None
        if run.returncode:
            reason = (run.stderr or run.stdout).strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
            raise FoldcliError(f"{program}: {reason[0]}; give the clusters as a file with --clusters")
        pairs = [line.split("\t") for line in Path(scratch, "result_cluster.tsv").read_text().splitlines()]
    first = {int(member): int(representative) for representative, member in pairs}
    # MMseqs2 leaves out chains shorter than a k-mer
    return [first.get(k, k) for k in range(len(sequences))]


def _by_kmers(sequences: Sequence[str]) -> list[int]:
    """Greedy clustering: each chain, longest first, joins the first similar representative or becomes one.

    The CANDIDATES representatives with most common 3-mers on nearby diagonals are aligned globally (BLOSUM62). Meant
    for some thousand chains: 5,000 take a minute.
    """
    clusters = _Representatives()
    numbers: dict[str, int] = {}
    for sequence in sorted(dict.fromkeys(sequences), key=len, reverse=True):
        numbers[sequence] = next(
            (k for k in clusters.candidates(sequence) if _similar(clusters.sequences[k], sequence)),
            len(clusters.sequences),
        )
        if numbers[sequence] == len(clusters.sequences):
            clusters.add(sequence)
    return [numbers[sequence] for sequence in sequences]


@dataclass
class _Representatives:
    """The representative of each cluster, and the positions of each k-mer in them."""

    sequences: list[str] = field(default_factory=list)
    places: "dict[int, array[int]]" = field(default_factory=lambda: defaultdict(lambda: array("q")))

    def add(self, sequence: str) -> None:
        for place, kmer in enumerate(_kmers(sequence).tolist()):
            self.places[kmer].append(len(self.sequences) * STRIDE + place)
        self.sequences.append(sequence)

    def candidates(self, sequence: str) -> Iterator[int]:
        """Numbers of the representatives with most k-mers in common, the best first."""
        hits = [
            np.frombuffer(self.places[kmer], np.int64) + (len(sequence) - place)
            for place, kmer in enumerate(_kmers(sequence).tolist())
            if kmer in self.places
        ]
        bands, counts = np.unique(np.concatenate(hits or [np.zeros(0, np.int64)]) // BAND, return_counts=True)
        best = np.argsort(-counts, kind="stable")[:CANDIDATES]
        found = (bands[best[counts[best] >= HITS_IN_BAND]] * BAND // STRIDE).tolist()
        return iter(dict.fromkeys(found))


def _kmers(sequence: str) -> NDArray[np.int64]:
    letters = np.array([INDEX[letter] for letter in sequence])
    return sum((letters[k : len(letters) - K + 1 + k] * 21**k for k in range(K)), np.zeros(1, np.int64))


def _similar(representative: str, other: str) -> bool:
    first, second = ([NAMES[INDEX[letter]] for letter in sequence] for sequence in (representative, other))
    result = gemmi.align_string_sequences(first, second, [], SCORING)
    aligned = sum(map(int, re.findall(r"(\d+)M", result.cigar_str())))
    ends = re.findall(r"^(\d+)[ID]|(\d+)[ID]$", result.cigar_str())
    score = result.score - sum(SCORING.gapo + SCORING.gape * int(length) for end in ends for length in end if length)
    alike = aligned >= COVERAGE * len(other) and result.match_count >= IDENTITY * aligned
    return alike and score >= SCORE * len(other)
