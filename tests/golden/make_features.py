"""Write features/alignment.a3m, random but seeded, and features/features.npz, DeepMind's features of it.

Run it in an environment with the package alphafold-colabfold (and jax), which foldcli itself does not need:
    python make_features.py

The arrays are named CASE/FEATURE, with recycling passes as the first axis; cases differ in seed, rows and passes.
"""

from pathlib import Path

import numpy as np
from alphafold.data import parsers, pipeline
from alphafold.model import config, features

FOLDER = Path(__file__).with_name("features")
RESIDUES, ROWS = 30, 120
CLUSTERS, EXTRA = 16, 24
# name: seed, rows of the alignment, passes
CASES = {"deep": (0, ROWS, 3), "other_seed": (2**31 + 5, ROWS, 3), "shallow": (1, 10, 2), "one_pass": (3, ROWS, 1)}
KEPT = ["aatype", "residue_index", "seq_mask", "target_feat", "msa_feat", "msa_mask"]
KEPT += ["extra_msa", "extra_msa_mask", "extra_has_deletion", "extra_deletion_value"]


def random_a3m() -> str:
    """A query and similar rows, with gaps, insertions and ambiguous letters."""
    rng = np.random.default_rng(11)
    query = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), RESIDUES)
    query[7] = "X"
    lines = [">query", "".join(query)]
    for number in range(1, ROWS):
        other = rng.choice(list("ACDEFGHIKLMNPQRSTVWYBJOUXZ-"), RESIDUES)
        row = np.where(rng.random(RESIDUES) < rng.uniform(0.2, 0.9), query, other)
        row[: rng.integers(0, 8)] = "-"
        lengths = np.where(rng.random(RESIDUES) < 0.08, rng.integers(1, 9, RESIDUES), 0)
        inserted = ["".join(rng.choice(list("acdefghik"), length)) for length in lengths]
        lines += [f">row{number}", "".join(map("".join, zip(inserted, row, strict=True)))]
    return "\n".join(lines) + "\n"


def processed(msa: parsers.Msa, seed: int, passes: int) -> dict[str, np.ndarray]:
    cfg = config.model_config("model_3_ptm")
    with cfg.unlocked():
        cfg.data.eval.max_msa_clusters, cfg.data.common.max_extra_msa = CLUSTERS, EXTRA
        cfg.data.common.num_recycle = passes - 1
    raw = pipeline.make_sequence_features(msa.sequences[0], "query", RESIDUES) | pipeline.make_msa_features([msa])
    return features.np_example_to_features(raw, cfg, random_seed=seed)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    text = random_a3m()
    (FOLDER / "alignment.a3m").write_text(text)
    msa = parsers.parse_a3m(text)
    arrays = {}
    for case, (seed, rows, passes) in CASES.items():
        made = processed(msa.truncate(rows), seed, passes)
        arrays |= {f"{case}/{name}": made[name] for name in KEPT}
    np.savez_compressed(FOLDER / "features.npz", **arrays)


if __name__ == "__main__":
    main()
