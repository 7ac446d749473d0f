"""Losses of DeepMind's AlphaFold 2 (JAX, CPU) for one pass without dropout, and the gradients of all parameters.

Needs src and src/foldcli/bench/peers in PYTHONPATH; takes the options of run_alphafold.py there, and --labels, a file
as make_labels.py writes it, whose sequence is the query.
Writes to --out, beside config.json and features.npz: gradients.npz, of the weighted total with respect to every
published parameter; losses.json, the total, its terms without their weights, and the norm of each gradient, by block
in a stack. The golden beside it (without gradients.npz, which is large) was made by

    run_losses.py --labels losses/labels.npz --blocks 2 --extra-blocks 1 --recycles 0 --preset model_1_ptm --depth 20
        --templates 1 --msa 16 --extra-msa 24 --violations 0.0002 --out losses

where violations have a small weight, since they would dominate the gradients of untrained parameters.
"""

import argparse
import json
import os
from pathlib import Path

# No fused multiply-add: with it 10 t - round(10 t) is not zero, and an atom's aligned error in its own residue's frame,
# which lies on the edge of the first bin, falls to either side by chance.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_max_isa=AVX")

import haiku as hk
import jax
import numpy as np
from alphafold.model import all_atom, folding, model, modules, quat_affine
from run_alphafold import configuration, parameter_shapes, parser, raw_features

from foldcli.weights.seeded import STACKED, seeded_parameters

PREFIX = "alphafold/"


def options() -> argparse.Namespace:
    options = parser()
    options.add_argument("--labels", type=Path, required=True)
    options.add_argument("--violations", type=float, default=1.0, help="their weight in the total")
    a = options.parse_args()
    a.query = str(np.load(a.labels)["sequence"])
    a.residues = len(a.query)
    return a


def truth(features: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The labels that DeepMind's losses need of a structure, by their own functions."""
    aatype, positions, mask = features["aatype"], labels["positions"], labels["mask"]
    groups = all_atom.atom37_to_frames(aatype, positions, mask)
    backbone = groups["rigidgroups_gt_frames"][:, 0]
    quaternion = quat_affine.rot_to_quat(backbone[:, :9].reshape(-1, 3, 3), unstack_inputs=True)
    torsions = all_atom.atom37_to_torsion_angles(aatype[None], positions[None], mask[None])
    sin, cos = np.moveaxis(np.asarray(torsions["torsion_angles_sin_cos"][0, :, 3:]), -1, 0)
    slot, exists = features["residx_atom14_to_atom37"].astype(int), features["atom14_atom_exists"]
    atoms = np.take_along_axis(positions, slot[..., None], 1) * exists[..., None]
    atoms_mask = np.take_along_axis(mask, slot, 1) * exists
    rename = all_atom.RENAMING_MATRICES[aatype]
    beta, beta_mask = modules.pseudo_beta_fn(aatype, positions, mask)
    return {
        "all_atom_positions": positions, "all_atom_mask": mask, "resolution": labels["resolution"],
        "backbone_affine_tensor": np.concatenate([quaternion, backbone[:, 9:]], axis=1),
        "backbone_affine_mask": groups["rigidgroups_gt_exists"][:, 0],
        "chi_angles": np.arctan2(sin, cos), "chi_mask": torsions["torsion_angles_mask"][0, :, 3:],
        "atom14_gt_positions": atoms, "atom14_gt_exists": atoms_mask,
        "atom14_alt_gt_positions": rename @ atoms, "atom14_alt_gt_exists": (rename @ atoms_mask[..., None])[..., 0],
        "atom14_atom_is_ambiguous": 1 - np.diagonal(rename, axis1=1, axis2=2),
        "pseudo_beta": beta, "pseudo_beta_mask": beta_mask, "use_clamped_fape": np.float32(1), **groups,
    }  # fmt: skip


def terms(batch: dict[str, jax.Array], cfg: object) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted total, and its terms without weights; `unclamped` is the backbone FAPE without its clamp."""
    pass_batch = {key: value[None] for key, value in batch.items()}
    iteration = modules.AlphaFoldIteration(cfg, cfg.global_config)
    ret, total = iteration(pass_batch, {}, is_training=False, compute_loss=True)
    structure, cfg = ret["structure_module"], cfg.heads.structure_module.copy_and_resolve_references()
    backbone, unclamped, violation = {"loss": 0.0}, {"loss": 0.0}, {"loss": 0.0}
    folding.backbone_loss(backbone, batch, structure, cfg)
    folding.backbone_loss(unclamped, {**batch, "use_clamped_fape": 0.0}, structure, cfg)
    cfg.structural_violation_loss_weight = 1.0
    folding.structural_violation_loss(violation, batch, structure, cfg)
    heads = {
        "distogram": "distogram", "masked_msa": "masked_msa", "lddt": "predicted_lddt",
        "resolved": "experimentally_resolved", "pae": "predicted_aligned_error",
    }  # fmt: skip
    return total, {
        "backbone_fape": backbone["loss"], "unclamped": unclamped["loss"],
        "side_chain_fape": structure["sidechain_fape"], "chi": structure["chi_loss"],
        "angle_norm": structure["angle_norm_loss"], "violations": violation["loss"], "total": total,
        **{ours: ret[theirs]["loss"] for ours, theirs in heads.items()},
    }  # fmt: skip


def norms_by_block(key: str, gradient: np.ndarray) -> list[float]:
    blocks = len(gradient) if any(part in key for part in STACKED) else 1
    return np.linalg.norm(gradient.reshape(blocks, -1), axis=1).tolist()


def main() -> None:
    a = options()
    a.out.mkdir(parents=True, exist_ok=True)
    labels, cfg = dict(np.load(a.labels)), configuration(a)
    cfg.model.heads.structure_module.structural_violation_loss_weight = a.violations
    runner = model.RunModel(cfg)
    features = runner.process_features(raw_features(a), random_seed=a.seed)
    features = {key: np.asarray(value[:1]) for key, value in features.items()}
    features["residue_index"] = labels["residue_index"][None]
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, value in seeded_parameters(parameter_shapes(runner, features, a.residues), a.scale, a.seed).items():
        scope, leaf = name.split("//")
        params.setdefault(scope.removeprefix(PREFIX), {})[leaf] = value

    batch = {key: value[0] for key, value in features.items()}
    batch |= truth(batch, labels) | {
        "prev_msa_first_row": np.zeros((a.residues, 256), np.float32),
        "prev_pair": np.zeros((a.residues, a.residues, 128), np.float32),
        "prev_pos": np.zeros((a.residues, 37, 3), np.float32),
    }
    batch = jax.tree_util.tree_map(np.asarray, batch)
    run = hk.transform(lambda batch: terms(batch, cfg.model)).apply
    score = jax.jit(jax.value_and_grad(lambda p: run(p, jax.random.PRNGKey(0), batch), has_aux=True))
    (_, found), gradients = jax.device_get(score(params))
    flat = {f"{PREFIX}{scope}//{leaf}": g for scope, leaves in gradients.items() for leaf, g in leaves.items()}
    np.savez_compressed(a.out / "features.npz", **features)
    np.savez(a.out / "gradients.npz", **flat)
    norms = {key: norms_by_block(key, value) for key, value in flat.items()}
    losses = {"terms": {key: float(value) for key, value in found.items()}, "norms": norms}
    (a.out / "losses.json").write_text(json.dumps(losses, indent=0))
    about = {key: str(value) for key, value in vars(a).items() if key not in ("out", "serve", "labels")}
    (a.out / "config.json").write_text(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
