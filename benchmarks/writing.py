"""Time the files of one job, with a made-up prediction of many residues: python benchmarks/writing.py [RESIDUES]

What `foldcli fold` writes, by one thread, as it does beside the next fold; matplotlib is imported before, as there.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from foldcli.compose import fold_config
from foldcli.data.query import Alignment, Query
from foldcli.folding.job import Job
from foldcli.folding.writing import Folded, write_folded
from foldcli.protein.residues import ATOM37_MASK, INDEX
from foldcli.protein.structure import Prediction, Structure
from foldcli.report.plots import load_matplotlib
from foldcli.report.provenance import Provenance
from foldcli.timers import Timers

ROWS = 512  # of the alignment


def folded(length: int) -> Folded:
    """A random walk as the structure, and an error that grows with the distance along the chain."""
    rng = np.random.default_rng(0)
    sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
    tokens = rng.integers(0, 22, (ROWS, length)).astype(np.int8)
    tokens[0] = [INDEX[letter] for letter in sequence]
    walk = np.cumsum(rng.normal(0, 2, (length, 1, 3)), 0) + rng.normal(0, 1.5, (length, 37, 3))
    plddt = rng.uniform(20, 95, length).astype(np.float32)
    mask = ATOM37_MASK[tokens[0]] > 0
    structure = Structure(sequence, walk.astype(np.float32), mask, np.arange(1, length + 1), plddt)
    apart = np.abs(np.arange(length)[:, None] - np.arange(length))
    pae = (28 * (1 - np.exp(-apart / 200)) + rng.normal(0, 0.5, apart.shape)).clip(0.2, 31.75).astype(np.float32)
    prediction = Prediction(structure, plddt, "model_1_ptm", 0, 3, ptm=0.5, pae=pae, max_pae=31.75)
    query = Query("made_up", "made up", sequence, "nowhere", Alignment(tokens, np.zeros_like(tokens, np.int32)))
    provenance = Provenance("made_up", "made up", "0", "none", True, ROWS)
    return Folded(
        Job(query, ""), [(prediction, provenance)], {}, [], Timers(), time.perf_counter(), memory_gib=0.0, cuda=False
    )


def main() -> None:
    length = int(sys.argv[1]) if sys.argv[1:] else 2048
    load_matplotlib()
    job = folded(length)
    with tempfile.TemporaryDirectory() as out:
        start, cpu = time.perf_counter(), time.process_time()
        job.timers.began = start
        write_folded(Path(out), job, fold_config("model_1_ptm"))
        seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    print(f"{length} residues: {seconds:.2f} s, of which the processor {busy:.2f}")
    print(*(f"{name}: {value:.2f} s" for name, value in job.timers.seconds.items()), sep="\n")


if __name__ == "__main__":
    main()
