"""Score a plain copy of the best template: the baseline of every figure with the library.

`python benchmarks/library.py --validation chains_val.npz chains_train.npz chains_train_more.npz`

Prints lDDT-CA of the best hit's aligned CA atoms, with all other residues counted as wrong: for validation chains with
the package's library, and for one chain of each held-out cluster (`held_out.py`) with a library that holds the other
members.
"""

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from foldcli.data.chain import Chain, Template
from foldcli.data.features.templates import gaps_closed
from foldcli.data.formats.name_list import read_names
from foldcli.data.query import Query
from foldcli.data.training.shards import Shard
from foldcli.files import write_atomic
from foldcli.geometry.lddt import lddt
from foldcli.protein.residues import CA
from foldcli.search.chains import read_chains
from foldcli.search.library import Library, bundled, write_library
from foldcli.search.templates import choose_hits, search

HELD_OUT = Path(__file__).parents[1] / "src/foldcli/search/held_out.txt"
NEAR = (0.3, 0.6)


@dataclass(frozen=True)
class Copied:
    """One query: lDDT and coverage (0 to 1) of the copy, the hit's identity and E-value, seconds of the search."""

    name: str
    length: int
    hit: str
    lddt: float
    coverage: float
    identity: float
    evalue: float
    seconds: float


def copy(chain: Chain, library: Library) -> Copied:
    """Search for a chain and score the first hit's CA atoms as they are."""
    began, length = time.perf_counter(), len(chain.sequence)
    hits = choose_hits(search(library.sequences, Query(chain.name, "", chain.sequence, chain.name)), length)
    seconds = time.perf_counter() - began
    if not hits:
        return Copied(chain.name, length, "", 0.0, 0.0, 0.0, float("inf"), seconds)
    template, best = library.template(hits[0], length), hits[0]
    score, coverage = copied_lddt(chain, template), len(best.columns) / length
    return Copied(chain.name, length, best.name, score, coverage, best.identity, best.evalue, seconds)


def copied_lddt(chain: Chain, template: Template) -> float:
    """lDDT of the template's CA atoms, 0 to 1; residues not covered lie on straight lines between their neighbours."""
    points = torch.from_numpy(gaps_closed(template.positions[:, CA], np.flatnonzero(template.mask[:, CA]))).float()
    true = torch.from_numpy(chain.positions[:, CA])
    return float(lddt(points, true, torch.from_numpy(chain.mask[:, CA]).float()))


def chains_of(paths: Iterable[Path], names: Iterable[str] | None = None) -> dict[str, Chain]:
    """Chains of shards by name, all or those in `names`."""
    wanted = None if names is None else set(names)
    shards = [Shard(path) for path in paths]
    known = ((shard, k, str(name)) for shard in shards for k, name in enumerate(shard.arrays["names"]))
    return {name: shard.load(k) for shard, k, name in known if wanted is None or name in wanted}


def held_out(shards: Sequence[Path]) -> Iterator[tuple[Chain, Library]]:
    """The first chain of each held-out cluster, with a library that holds all other chains."""
    chains, names = read_chains(shards), read_names(HELD_OUT)
    queries = {chain.cluster: chain.name for chain in reversed(chains) if chain.name in names}.values()
    with tempfile.TemporaryDirectory() as folder:
        write_library(Path(folder) / "library.npz", chains, set(queries), 10**9)
        library = Library(Path(folder) / "library.npz")
        yield from ((chain, library) for chain in chains_of(shards, queries).values())


def summary(title: str, queries: int, copies: list[Copied]) -> dict[str, object]:
    """One line of the table, printed and returned."""
    row: dict[str, object] = {"what": title, "queries": queries, "hits": len(copies)}
    for column in ("lddt", "coverage", "identity", "seconds"):
        row[column] = round(mean(getattr(one, column) for one in copies), 4)
    print(json.dumps(row))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--library", type=Path, default=bundled())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    library = Library(options.library)
    validation = [copy(chain, library) for chain in chains_of([options.validation]).values()]
    related = [copy(chain, others) for chain, others in held_out(options.shards)]
    sure = [one for one in validation if one.evalue < 1e-3]
    near = [one for one in related if NEAR[0] <= one.identity <= NEAR[1]]
    made = {"date": datetime.date.today().isoformat(), "hmmer": f"pyhmmer {version('pyhmmer')}"}
    rows = [
        summary("validation, any hit", len(validation), [one for one in validation if one.hit]),
        summary("validation, E below 1e-3", len(validation), sure),
        summary("held-out clusters, any hit", len(related), [one for one in related if one.hit]),
        summary("held-out clusters, identity 30 to 60 %", len(related), near),
    ]
    if options.out:
        write_atomic(options.out, json.dumps(made | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
