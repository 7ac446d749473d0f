"""Write complex_features/features.npz: what DeepMind makes of complexes of its A.a3m and B.a3m.

The alignments are of parts of the pigeon's hemoglobin chains with the 45 globins of HMMER's tutorial (BSD licence; the
sequences are UniProt's, CC BY 4.0), by jackhmmer. Run it in an environment with alphafold-colabfold (and jax), which
foldcli itself does not need:
    python make_complex_features.py

Arrays are named CASE/FEATURE: `merged` features, and those of each pass, whose first axis is the pass. The order of
rows with equal ranks is left open by DeepMind's sorting; here it is that of a stable sort.
"""

import functools
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from alphafold.common import residue_constants
from alphafold.data import feature_processing, parsers, pipeline, pipeline_multimer
from alphafold.model import config, model, modules_multimer

FOLDER = Path(__file__).with_name("complex_features")
CLUSTERS, EXTRA = 16, 24
# name: chains, rows that a chain may have, seed, passes
CASES = {
    "two": ("AB", 2048, 0, 2), "copies": ("AAB", 2048, 2**31 + 5, 1), "cropped": ("ABB", 30, 1, 1),
    "same": ("BB", 2048, 2, 1), "one": ("A", 2048, 3, 1),
}  # fmt: skip
MERGED = ["msa", "deletion_matrix", "cluster_bias_mask", "asym_id", "entity_id", "sym_id", "residue_index", "aatype"]
MERGED += ["template_aatype", "template_all_atom_positions", "template_all_atom_mask"]
TEMPLATES = {"A": 2, "B": 1}


def alignment(name: str) -> parsers.Msa:
    """Each row once, as in DeepMind's own pipeline, and names as UniProt's files have them."""
    msa = parsers.parse_a3m((FOLDER / f"{name}.a3m").read_text())
    first = {sequence: number for number, sequence in reversed(list(enumerate(msa.sequences)))}
    kept = sorted(first.values())
    return parsers.Msa(
        [msa.sequences[k] for k in kept], [msa.deletion_matrix[k] for k in kept],
        [f"sp|P00000|{msa.descriptions[k]}" if k else "query" for k in kept],
    )  # fmt: skip


def templates(name: str, length: int) -> dict[str, np.ndarray]:
    """Random but seeded templates, with gaps."""
    rng, count = np.random.default_rng(ord(name)), TEMPLATES[name]
    letters = rng.integers(0, 22, (count, length))
    return {
        "template_aatype": np.eye(22)[letters],
        "template_all_atom_positions": rng.normal(size=(count, length, 37, 3)).round(1).astype(np.float32),
        "template_all_atom_masks": (rng.random((count, length, 37)) < 0.8).astype(np.float32),
    }


def merged(chains: str, most: int) -> dict[str, np.ndarray]:
    features = {}
    for number, name in enumerate(chains):
        msa = alignment(name)
        made = pipeline.make_msa_features([msa])
        length = len(msa.sequences[0])
        own = pipeline.make_sequence_features(msa.sequences[0], "chain", length) | made | templates(name, length)
        if len(set(chains)) > 1:
            own |= {f"{key}_all_seq": made[key] for key in made if key != "num_alignments"}
        features[str(number)] = pipeline_multimer.convert_monomer_features(own, str(number))
    feature_processing.MSA_CROP_SIZE = most
    found = feature_processing.pair_and_merge(pipeline_multimer.add_assembly_features(features))
    return pipeline_multimer.pad_msa(found, 512)


def sampled(features: dict[str, np.ndarray], seed: int, passes: int) -> dict[str, np.ndarray]:
    """What the model itself, with one block of each kind, draws in each pass."""
    cfg = config.model_config("model_1_multimer_v3")
    with cfg.unlocked():
        cfg.model.num_recycle = passes - 1
        parts = cfg.model.embeddings_and_evoformer
        parts.num_msa, parts.num_extra_msa = CLUSTERS, EXTRA
        parts.evoformer_num_block = parts.extra_msa_stack_num_block = 1
        parts.template.enabled = False
    seen: list[dict[str, np.ndarray]] = []
    sample = modules_multimer.sample

    def watched(*arguments: object) -> dict[str, jax.Array]:
        batch = sample(*arguments)
        kept = {"msa_feat": modules_multimer.create_msa_feat(batch)}
        kept["extra"], kept["extra_mask"] = modules_multimer.create_extra_msa_feature(batch, EXTRA)
        jax.debug.callback(lambda values: seen.append({k: np.asarray(v) for k, v in values.items()}), kept)
        return batch

    modules_multimer.sample = watched
    runner, length = model.RunModel(cfg), len(features["aatype"])
    sizes = {"prev_msa_first_row": (256,), "prev_pair": (length, 128), "prev_pos": (37, 3)}
    runner.init_params(features | {"prev": {k: np.zeros((length, *size), np.float32) for k, size in sizes.items()}})
    runner.predict(features, random_seed=seed)
    modules_multimer.sample = sample
    jax.effects_barrier()
    return {name: np.stack([one[name] for one in seen[-passes:]]) for name in seen[0]}


def main() -> None:
    np.argsort = functools.partial(np.argsort, kind="stable")
    pd.DataFrame.sort_values = functools.partialmethod(pd.DataFrame.sort_values, kind="stable")
    assert residue_constants.restypes_with_x_and_gap[21] == "-"
    arrays = {}
    for case, (chains, most, seed, passes) in CASES.items():
        features = merged(chains, most)
        arrays |= {f"{case}/{name}": features[name] for name in MERGED}
        arrays |= {f"{case}/{name}": found for name, found in sampled(features, seed, passes).items()}
    np.savez_compressed(FOLDER / "features.npz", **arrays)


if __name__ == "__main__":
    main()
