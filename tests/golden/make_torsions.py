"""Write torsions.npz: random templates, with torsions and pseudo-beta atoms by DeepMind's AlphaFold.

Run it in an environment with the package alphafold-colabfold (and jax), which foldcli itself does not need:
    python make_torsions.py

The templates have every residue type, X and gaps; missing atoms are at the origin.
"""

from pathlib import Path

import numpy as np
from alphafold.model import all_atom
from alphafold.model.tf import data_transforms


def main() -> None:
    rng = np.random.default_rng(3)
    aatype = np.stack([rng.permutation(22), np.append(rng.integers(0, 22, 16), [7] * 6)]).astype(np.int32)
    walk = np.cumsum(rng.normal(size=(2, 22, 1, 3)) * 2, axis=1)
    mask = (rng.random((2, 22, 37)) < 0.9).astype(np.float32)
    positions = (walk + rng.normal(size=(2, 22, 37, 3))).round(2).astype(np.float32) * mask[..., None]

    torsions = all_atom.atom37_to_torsion_angles(aatype, positions, mask, placeholder_for_undefined=False)
    beta, beta_mask = data_transforms.pseudo_beta_fn(aatype, positions, mask)
    np.savez_compressed(
        Path(__file__).with_name("torsions.npz"),
        aatype=aatype,
        positions=positions,
        mask=mask.astype(np.int8),
        torsions=np.asarray(torsions["torsion_angles_sin_cos"]),
        torsions_alt=np.asarray(torsions["alt_torsion_angles_sin_cos"]),
        torsions_mask=np.asarray(torsions["torsion_angles_mask"]).astype(np.int8),
        pseudo_beta=beta,
        pseudo_beta_mask=beta_mask.astype(np.int8),
    )


if __name__ == "__main__":
    main()
