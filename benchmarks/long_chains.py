"""Set chains of over 512 residues aside for measurements: writes benchmarks/long_chains.npz.

    /usr/bin/python3 benchmarks/long_chains.py chains_train.npz chains_train_more.npz chains_val.npz

Reads the structure database of Debian's package promod3-data by Debian's own Python, as
examples/training/promod3_chains.py does, and needs mmseqs too. No chain over 512 residues is in the shards, so that
neither training nor the library of known structures has seen one. Of those that share no cluster with a chain of the
shards (30 % identity over 80 % of the shorter chain) the 40 shortest are taken, one of a cluster.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples/training"))
import promod3_chains as source
from promod3 import loop

OUT, COUNT = Path(__file__).with_name("long_chains.npz"), 40
IDENTITY, COVERAGE = 0.3, 0.8
COLUMNS = "query,fident,qlen,tlen,qcov,tcov"


def sequences_of(shard):
    """The sequences of a shard's chains."""
    arrays = np.load(shard)
    letters, ends = arrays["sequence"].tobytes().decode("ascii"), np.cumsum(arrays["lengths"])
    return [letters[end - length : end] for end, length in zip(ends, arrays["lengths"], strict=True)]


def related(sequences, known):
    """The numbers of the sequences that would share a cluster with one of the known sequences."""
    found = set()
    with tempfile.TemporaryDirectory() as scratch:
        for name, some in (("long", sequences), ("known", known)):
            Path(scratch, name).write_text("".join(f">{k}\n{letters}\n" for k, letters in enumerate(some)))
        options = ["-s", "7.5", "--max-seqs", "1000", "--format-output", COLUMNS, "-v", "1"]
        names = [f"{scratch}/{name}" for name in ("long", "known", "hits", "tmp")]
        subprocess.run(["mmseqs", "easy-search", *names, *options], check=True)
        for line in Path(names[2]).read_text().splitlines():
            query, identity, length, other, covered, others = map(float, line.split())
            if identity >= IDENTITY and (covered if length <= other else others) >= COVERAGE:
                found.add(int(query))
    return found


def main(shards):
    source.SHORTEST, source.LONGEST = source.LONGEST + 1, sys.maxsize
    chains = list(source.read_chains(loop.LoadStructureDB()))
    near = related([sequence for _, sequence, *_ in chains], [one for shard in shards for one in sequences_of(shard)])
    apart = sorted((chain for k, chain in enumerate(chains) if k not in near), key=lambda chain: len(chain[1]))
    clusters = source.cluster_numbers(apart)
    chosen = np.sort(np.unique(clusters, return_index=True)[1])[:COUNT]
    print(f"{len(chains)} chains, {len(near)} related to the shards', {len(set(clusters))} clusters of the others")
    source.write(OUT, [apart[k] for k in chosen], clusters[chosen])


if __name__ == "__main__":
    main(sys.argv[1:])
