"""Hold out clusters for measurements: `python benchmarks/held_out.py chains_train.npz chains_train_more.npz`.

Writes src/foldcli/search/held_out.txt, which training (`train.exclude=`) and the library (`--exclude`) leave out: all
members of 100 clusters of three or more chains, at least one of them in the first file.
"""

import argparse
import hashlib
from collections import Counter
from pathlib import Path

from foldcli.files import write_atomic
from foldcli.search.chains import read_chains

OUT = Path(__file__).parents[1] / "src/foldcli/search/held_out.txt"
COUNT, MEMBERS = 100, 3
TITLE = "# Chains of clusters set aside for measurements by benchmarks/held_out.py; the first of each is the query.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="+", type=Path)
    chains = read_chains(parser.parse_args().shards)
    first_file = {chain.cluster for chain in read_chains(parser.parse_args().shards[:1])}
    sizes = Counter(chain.cluster for chain in chains)
    fitting = [cluster for cluster in first_file if sizes[cluster] >= MEMBERS]
    chosen = sorted(fitting, key=lambda cluster: hashlib.sha256(str(cluster).encode()).digest())[:COUNT]
    lines = [chain.name for cluster in chosen for chain in chains if chain.cluster == cluster]
    write_atomic(OUT, TITLE + "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
