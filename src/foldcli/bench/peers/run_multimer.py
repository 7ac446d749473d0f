"""Run DeepMind's AlphaFold-Multimer (JAX, CPU) with seeded parameters; save its features and outputs.

As run_alphafold.py, whose functions and environment it uses. The complex has a chain of each length in --chains, and
chains of equal length have one sequence. Writes to --out: raw.npz (the merged chains, before rows are drawn and
masked), chains.json (each sequence with its alignment and the names of its rows), features.npz (what the model took in
each pass, in its leading axis), outputs.npz (float32) and config.json. Those in tests/golden were made by

    run_multimer.py --blocks 2 --extra-blocks 1 --out complex
    run_multimer.py --blocks 2 --extra-blocks 1 --preset model_4_multimer_v3 --depth 12 --templates 2
        --out complex_templates
"""

import argparse
import copy
import json
import os
import runpy
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from alphafold.data import feature_processing, msa_pairing, parsers, pipeline, pipeline_multimer
from alphafold.model import config, geometry, model, modules_multimer, msa_sampling

reference = runpy.run_path(str(Path(__file__).with_name("run_alphafold.py")))

Features = dict[str, np.ndarray]
Passes = list[dict[str, jax.Array]]
OF_RESIDUES = ("aatype", "residue_index", "seq_mask", "asym_id", "entity_id", "sym_id")
OF_ROWS = ("msa_mask", "extra_msa", "extra_msa_mask", "bert_mask", "true_msa")
EXTENDED = ("calc_extended_ptm", "use_probs_extended")
SPECIES = ("HUMAN", "MOUSE", "YEAST", "ECOLI", "BACSU", "")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="model_1_multimer_v3")
    parser.add_argument("--blocks", type=int, default=48)
    parser.add_argument("--extra-blocks", type=int, default=4)
    parser.add_argument("--chains", default="7,7,6", help="their lengths; copies of one sequence come together")
    parser.add_argument("--msa", type=int, default=16)
    parser.add_argument("--extra-msa", type=int, default=20)
    parser.add_argument("--depth", type=int, default=30, help="sequences in each random alignment")
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--templates", type=int, default=0, help="of each chain")
    parser.add_argument("--scale", type=float, default=1.0, help="of the parameters")
    parser.add_argument("--seed", type=int, default=0, help="of parameters, alignments and templates, and of the draws")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def alignment(a: argparse.Namespace, residues: int) -> parsers.Msa:
    """A random alignment of one sequence; rows have names of UniProt, of few species."""
    own = argparse.Namespace(seed=a.seed + residues, residues=residues, depth=a.depth, query="")
    msa = reference["alignment"](own)
    species = np.random.default_rng(own.seed).choice(SPECIES, a.depth)
    names = [f"tr|A{k:05}|A{k:05}_{kind}" if kind else f"row{k}" for k, kind in enumerate(species)]
    return parsers.Msa(msa.sequences, msa.deletion_matrix, ["query", *names[1:]])


def chain_features(a: argparse.Namespace, msa: parsers.Msa, chain: str) -> dict[str, Any]:
    sequence = msa.sequences[0]
    raw = pipeline.make_sequence_features(sequence, "query", len(sequence)) | pipeline.make_msa_features([msa])
    of_rows = raw.keys() & {*msa_pairing.MSA_FEATURES, "msa_species_identifiers"}
    paired = {f"{key}_all_seq": raw[key] for key in of_rows}
    own = argparse.Namespace(seed=a.seed + len(sequence), residues=len(sequence), templates=a.templates)
    return pipeline_multimer.convert_monomer_features(raw | paired | reference["templates"](own), chain)


def merged_features(a: argparse.Namespace, alignments: dict[int, parsers.Msa]) -> Features:
    """The features that the model takes, with the rows of all alignments."""
    lengths = [int(length) for length in a.chains.split(",")]
    made = {length: chain_features(a, msa, "A") for length, msa in alignments.items()}
    chains = {str(k): copy.deepcopy(made[length]) for k, length in enumerate(lengths)}
    merged = feature_processing.pair_and_merge(pipeline_multimer.add_assembly_features(chains))
    return pipeline_multimer.pad_msa(merged, a.msa + a.extra_msa)


def configuration(a: argparse.Namespace) -> Any:
    cfg = config.model_config(a.preset)
    with cfg.unlocked():
        g, e = cfg.model.global_config, cfg.model.embeddings_and_evoformer
        # as in run_alphafold.py
        g.zero_init, g.bfloat16, g.subbatch_size = False, False, 4096
        e.evoformer_num_block, e.extra_msa_stack_num_block = a.blocks, a.extra_blocks
        e.num_msa, e.num_extra_msa = a.msa, a.extra_msa
        cfg.model.num_recycle, cfg.model.recycle_early_stop_tolerance = a.recycles, 0.0
        cfg.model.split_msa_sampling = True  # so that the rows of each pass can be seen
    return cfg


def shown(merged: Features, sampled: dict[str, jax.Array]) -> Features:
    """What the model takes in one pass, by the names of the monomer's features where it has them."""
    found = {key: np.asarray(merged[key]) for key in OF_RESIDUES}
    found |= {key: np.asarray(sampled[key]) for key in OF_ROWS}
    found |= {key: value for key, value in merged.items() if key.startswith("template_")}
    counts = sampled["extra_deletion_matrix"]
    extra, _ = modules_multimer.create_extra_msa_feature(sampled, len(counts))
    made = {
        "target_feat": jax.nn.one_hot(merged["aatype"], 21), "msa_feat": modules_multimer.create_msa_feat(sampled),
        "extra_has_deletion": extra[..., 23], "extra_deletion_value": extra[..., 24],
    }  # fmt: skip
    return found | {key: np.asarray(value) for key, value in made.items()}


def direction(vector: geometry.Vec3Array, epsilon: float = 1e-6) -> geometry.Vec3Array:
    """The unit vector, zero for a vector of rounding errors.

    A template's residues have a direction to each other, which of a residue to itself is what rounding left over, and
    depends on how XLA compiles it. Ours is zero.
    """
    length = vector.norm(epsilon)
    return vector * ((length > 1e-3) / length)


def recorded(sampler: Callable[..., Any], passes: Passes) -> Callable[..., Any]:
    """The sampler of rows, which also notes what it gives."""

    def sample(*arguments: Any) -> dict[str, jax.Array]:
        passes.append(sampler(*arguments))
        return passes[-1]

    return sample


def save_features(a: argparse.Namespace, alignments: Iterable[parsers.Msa], merged: Features, passes: Passes) -> None:
    raw: Any = {key: value for key, value in merged.items() if value.dtype != object}
    np.savez_compressed(a.out / "raw.npz", **raw)
    each = [shown(merged, sampled) for sampled in passes]
    stacked: Any = {key: np.stack([one[key] for one in each]) for key in each[0]}
    np.savez_compressed(a.out / "features.npz", **stacked)
    rows = [
        {"titles": msa.descriptions, "rows": msa.sequences, "deletions": np.asarray(msa.deletion_matrix).tolist()}
        for msa in alignments
    ]
    (a.out / "chains.json").write_text(json.dumps(rows))


def main() -> None:
    a = parser().parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", message="Explicitly requested dtype int64")
    geometry.Vec3Array.normalized = direction
    model._cast_result = lambda result: result  # keep float32 outputs
    lengths = [int(length) for length in a.chains.split(",")]
    alignments = {length: alignment(a, length) for length in lengths}
    merged = merged_features(a, alignments)
    # keeps the logits of aligned errors
    runner = model.RunModel(configuration(a), extended_ptm_config=dict.fromkeys(EXTENDED, True))
    passes: Passes = []
    runner._sampler = recorded(msa_sampling.make_sampler(runner.config.model.embeddings_and_evoformer), passes)
    shapes = reference["parameter_shapes"](runner, merged, sum(lengths))
    runner.params = reference["parameters"](shapes, a.scale, a.seed)
    result, _ = runner.predict(merged, random_seed=a.seed)
    save_features(a, alignments.values(), merged, passes)
    reference["save"](a, result, shapes)


if __name__ == "__main__":
    main()
