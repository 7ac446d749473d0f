"""Run DeepMind's AlphaFold 2 (JAX, CPU) with seeded parameters; save its features and outputs.

The parameters are untrained; `foldcli.weights.seeded` draws each from its own name, so that foldcli rebuilds the same
ones. `foldcli bench peers --prepare` creates the environment that this script runs in. Writes to --out:
features.npz (leading axis: recycling pass), outputs.npz (float32) and config.json. Those in tests/golden were made by

    run_alphafold.py --blocks 2 --extra-blocks 1 --residues 24 --preset model_3_ptm --out ptm
    run_alphafold.py --blocks 2 --extra-blocks 1 --residues 24 --preset model_1_ptm --depth 20 --templates 2
        --out templates

With --serve it then runs once more for each line on standard input, and prints the seconds.
"""

import argparse
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from alphafold.data import parsers, pipeline
from alphafold.model import config, model

# By its file, since foldcli is not installed in this environment.
seeded_parameters = runpy.run_path(str(Path(__file__).parents[2] / "weights/seeded.py"))["seeded_parameters"]

LETTERS = "ARNDCQEGHILKMFPSTWYV"
# Derived from other outputs, or from the features alone.
NOT_SAVED = (
    "aligned_confidence_probs", "distogram/bin_edges", "structure_module/final_atom_mask",
    "pae_matrix_with_logits/asym_id", "pae_matrix_with_logits/breaks",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="model_3_ptm")
    parser.add_argument("--blocks", type=int, default=48)
    parser.add_argument("--extra-blocks", type=int, default=4)
    parser.add_argument("--residues", type=int, default=64)
    parser.add_argument("--msa", type=int, default=32)
    parser.add_argument("--extra-msa", type=int, default=48)
    parser.add_argument("--depth", type=int, default=100, help="sequences in the random alignment")
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--templates", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="of the parameters")
    parser.add_argument("--seed", type=int, default=0, help="of the parameters, the alignment and the templates")
    parser.add_argument("--bf16", action="store_true", help="AlphaFold's own half precision")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--query", default="", help="letters; without it, as many random ones as --residues says")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def alignment(a: argparse.Namespace) -> parsers.Msa:
    """A random alignment: rows keep 70 % of the query, with gaps and insertions."""
    rng = np.random.default_rng(a.seed)
    letters = np.array(list(LETTERS + "-"))
    query = rng.integers(0, 20, a.residues)
    if a.query:
        query = np.array([LETTERS.index(letter) for letter in a.query])
    rows = np.where(rng.random((a.depth, a.residues)) < 0.7, query, rng.integers(0, 21, (a.depth, a.residues)))
    rows[0] = query
    deletions = rng.poisson(0.05, rows.shape) * rng.integers(1, 6, rows.shape)
    deletions[0] = 0
    sequences = ["".join(letters[row]) for row in rows]
    return parsers.Msa(sequences, deletions.tolist(), [f"s{k}" for k in range(a.depth)])


def templates(a: argparse.Namespace) -> dict[str, np.ndarray]:
    """Random templates: random residue types on a smooth random CA trace; one atom in ten is missing."""
    rng, n = np.random.default_rng(a.seed + 7), a.residues
    mask = (rng.random((a.templates, n, 37)) < 0.9).astype(np.float32)
    trace = np.cumsum(rng.normal(size=(a.templates, n, 1, 3)) * 2.0, axis=1)
    return {
        "template_aatype": np.eye(22, dtype=np.float32)[rng.integers(0, 20, (a.templates, n))],
        "template_all_atom_positions": ((trace + rng.normal(size=(a.templates, n, 37, 3))) * mask[..., None]).astype(
            np.float32
        ),
        "template_all_atom_masks": mask,
        "template_domain_names": np.array([b"made_up"] * a.templates),
        "template_sequence": np.array([b"A" * n] * a.templates),
        "template_sum_probs": np.ones((a.templates, 1), np.float32),
    }


def published_layout(node: Any) -> None:
    """Keep the projections of triangle multiplication separate, as in the published parameters of monomer models."""
    for key, value in node.items():
        if key == "fuse_projection_weights":
            node[key] = False
        elif hasattr(value, "items"):
            published_layout(value)


def configuration(a: argparse.Namespace) -> Any:
    cfg = config.model_config(a.preset)
    with cfg.unlocked():
        g, e = cfg.model.global_config, cfg.model.embeddings_and_evoformer
        # zero_init off, or untrained output layers would be zero; the largest sub-batches are the fastest on a CPU
        g.zero_init, g.bfloat16, g.subbatch_size = False, a.bf16, 4096
        e.evoformer_num_block, e.extra_msa_stack_num_block = a.blocks, a.extra_blocks
        cfg.data.eval.max_msa_clusters, cfg.data.common.max_extra_msa = a.msa, a.extra_msa
        cfg.data.common.num_recycle = cfg.model.num_recycle = a.recycles
        cfg.data.common.use_templates = e.template.enabled = a.templates > 0
        e.template.embed_torsion_angles = a.templates > 0
        if a.templates:
            cfg.data.eval.max_templates = a.templates
        cfg.model.recycle_early_stop_tolerance = 0.0
        published_layout(cfg.model)
    return cfg


def raw_features(a: argparse.Namespace) -> dict[str, np.ndarray]:
    msa = alignment(a)
    sequence = pipeline.make_sequence_features(msa.sequences[0], "query", a.residues)
    return {**sequence, **pipeline.make_msa_features([msa]), **(templates(a) if a.templates else {})}


def parameter_shapes(runner: Any, features: dict[str, Any], residues: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all parameters by name; features: of one pass."""
    first = dict(features)
    first["prev"] = {
        "prev_msa_first_row": np.zeros((residues, 256), np.float32),
        "prev_pair": np.zeros((residues, residues, 128), np.float32),
        "prev_pos": np.zeros((residues, 37, 3), np.float32),
    }
    shapes = jax.eval_shape(runner.init, jax.random.PRNGKey(0), first)
    return {f"{scope}//{name}": leaf.shape for scope, leaves in shapes.items() for name, leaf in leaves.items()}


def parameters(shapes: dict[str, tuple[int, ...]], scale: float, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Seeded parameters by scope and name."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, value in seeded_parameters(shapes, scale, seed).items():
        scope, leaf = name.split("//")
        found.setdefault(scope, {})[leaf] = value
    return found


def save(a: argparse.Namespace, result: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write outputs.npz and config.json."""
    outputs: dict[str, Any] = {
        key: value for key, value in flat(jax.device_get(result)).items() if key not in NOT_SAVED
    }
    np.savez_compressed(a.out / "outputs.npz", **outputs)
    about: dict[str, Any] = {key: str(value) for key, value in vars(a).items() if key not in ("out", "serve")}
    about["parameter_shapes"] = {key: list(value) for key, value in shapes.items()}
    (a.out / "config.json").write_text(json.dumps(about, indent=1))


def flat(node: Any, path: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    if not isinstance(node, dict):
        return {"/".join(path): np.asarray(node)}
    return {key: value for name, child in node.items() for key, value in flat(child, (*path, name)).items()}


def main() -> None:
    a = parser().parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    model._cast_result = lambda result: result  # keep float32 outputs
    runner = model.RunModel(configuration(a))
    features = runner.process_features(raw_features(a), random_seed=a.seed)
    shapes = parameter_shapes(runner, {key: value[:1] for key, value in features.items()}, a.residues)
    runner.params = parameters(shapes, a.scale, a.seed)
    result, _ = runner.predict(features, random_seed=0)
    arrays: dict[str, Any] = dict(features)
    np.savez_compressed(a.out / "features.npz", **arrays)
    save(a, result, shapes)
    print("ready", flush=True)
    for _ in sys.stdin if a.serve else ():
        start = time.perf_counter()
        jax.device_get(runner.predict(features, random_seed=0)[0])
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
