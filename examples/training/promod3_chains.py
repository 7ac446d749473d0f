"""Make chain shards from the structure database of Debian's package promod3-data (see README.md beside this file).

    python3 promod3_chains.py FOLDER

Run it with Debian's own Python, which promod3 is made for; it needs promod3, numpy and mmseqs, and not foldcli. The
arrays are those of foldcli.data.training.shards.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from promod3 import loop

LETTERS = "ARNDCQEGHILKMFPSTWYV"
SHORTEST, LONGEST = 32, 512
# Validation chains, one of a cluster each, and their allowed lengths.
VALIDATION, VALIDATION_LENGTHS = 200, range(50, 257)
HUNDREDTHS = 100


def read_chains(database):
    """Name, sequence, backbone and profile of every chain of allowed length that has only the 20 amino acids."""
    for index in range(database.GetNumCoords()):
        info = database.GetCoordInfo(index)
        backbone = database.GetBackboneList(index)
        sequence = backbone.GetSequence()
        if SHORTEST <= len(sequence) <= LONGEST and set(sequence) <= set(LETTERS):
            profile = [[column.GetFreq(x) for x in LETTERS] for column in database.GetSequenceProfile(index).columns]
            columns = np.rint(np.array(profile) * 255).astype(np.uint8)
            yield f"{info.id}_{info.chain_name}", sequence, integers(backbone), columns


def integers(backbone):
    """Backbone as integers: N, CA and C in hundredths of an angstrom from the mean CA."""
    atoms = [(backbone.GetN(i).data, backbone.GetCA(i).data, backbone.GetC(i).data) for i in range(len(backbone))]
    positions = np.array(atoms)
    return np.rint((positions - positions[:, 1].mean(axis=0)) * HUNDREDTHS).astype(np.int16)


def cluster_numbers(chains):
    """Clusters at 30 % identity over 80 % of the shorter chain, numbered in the order of their first chains."""
    with tempfile.TemporaryDirectory() as scratch:
        fasta = Path(scratch, "chains.fasta")
        fasta.write_text("".join(f">{k}\n{sequence}\n" for k, (_, sequence, *_) in enumerate(chains)))
        options = ["--min-seq-id", "0.3", "-c", "0.8", "--cov-mode", "1", "-v", "1"]
        subprocess.run(["mmseqs", "easy-cluster", fasta, f"{scratch}/out", f"{scratch}/tmp", *options], check=True)
        pairs = np.loadtxt(f"{scratch}/out_cluster.tsv", dtype=np.int64)
    centres = np.arange(len(chains))
    centres[pairs[:, 1]] = pairs[:, 0]
    return np.unique(centres, return_inverse=True)[1]


def choose_validation(chains, clusters):
    """Choose clusters evenly spread over all; the first chain of allowed length of each, and the clusters' numbers."""
    fitting = [k for k, (_, sequence, *_) in enumerate(chains) if len(sequence) in VALIDATION_LENGTHS]
    numbers, first = np.unique(clusters[fitting], return_index=True)
    spread = np.linspace(0, len(numbers) - 1, VALIDATION).astype(int)
    return [fitting[k] for k in first[spread]], numbers[spread]


def write(path, chains, clusters):
    names, sequences, backbones, profiles = zip(*chains, strict=True)
    np.savez(
        path,
        names=np.array(names),
        lengths=np.array([len(sequence) for sequence in sequences], np.int32),
        cluster=np.array(clusters, np.int32),
        sequence=np.frombuffer("".join(sequences).encode(), "S1"),
        backbone=np.concatenate(backbones),
        profile=np.concatenate(profiles),
    )
    print(f"{path}: {len(names)} chains in {len(set(clusters))} clusters, {sum(map(len, sequences))} residues")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    chains = list(read_chains(loop.LoadStructureDB()))
    clusters = cluster_numbers(chains)
    held_out, held_out_clusters = choose_validation(chains, clusters)
    training = np.flatnonzero(~np.isin(clusters, held_out_clusters))
    write(folder / "chains.npz", [chains[k] for k in training], clusters[training].tolist())
    write(folder / "validation.npz", [chains[k] for k in held_out], clusters[held_out].tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
