"""DeepMind's AlphaFold and foldcli on the same arrays: features, parameters and the differences of their outputs."""

import dataclasses

import numpy as np
import torch

from foldcli.config import ModelConfig
from foldcli.data.features.templates import chain_template_features, template_features
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.confidence import chain_tm_scores, expected_aligned_error, plddt, predicted_tm_score
from foldcli.model.features import ChainFeatures, Features, TemplateFeatures
from foldcli.protein.interfaces import iptm
from foldcli.protein.structure import Structure
from foldcli.weights.alphafold import from_alphafold, published_shapes
from foldcli.weights.seeded import seeded_parameters

# The largest differences that count as none, in the units of `differences`; LOGITS is for every head's logits.
# A change of every parameter by one part in a million moves atoms by 2e-3 angstrom and logits by 1e-5 of the largest.
LIMITS = {"atoms": 5e-3, "plddt": 1e-2, "pae": 1e-2, "ptm": 1e-4, "iptm": 1e-4}
LOGITS = 1e-4
PAE_LOGITS = "pae_matrix_with_logits/logits"


def seeded_model(config: ModelConfig, scale: float, seed: int) -> AlphaFold:
    """Our model with the untrained parameters that run_alphafold.py draws for the same scale and seed."""
    params = seeded_parameters(published_shapes(config), scale, seed)
    with torch.device("meta"):
        model = AlphaFold(config)
    model.load_state_dict(from_alphafold(params, config, "rebuilt from names"), assign=True)
    return model.eval()


def features_of(f: dict[str, np.ndarray]) -> Features:
    """Features of one recycling pass from DeepMind's arrays, by their names."""
    t = {key: torch.as_tensor(value) for key, value in f.items()}
    return Features(
        aatype=t["aatype"].long(), residue_index=t["residue_index"].long(), seq_mask=t["seq_mask"],
        target_feat=t["target_feat"], msa_feat=t["msa_feat"], msa_mask=t["msa_mask"],
        extra_msa=t["extra_msa"].long(), extra_mask=t["extra_msa_mask"],
        extra_has_deletion=t["extra_has_deletion"], extra_deletion=t["extra_deletion_value"],
        templates=_templates(t) if "template_mask" in t else _chain_templates(t) if "template_aatype" in t else None,
        chains=_chains(t) if "asym_id" in t else None,
    )  # fmt: skip


def _chains(t: dict[str, torch.Tensor]) -> ChainFeatures:
    return ChainFeatures(asym=t["asym_id"].long(), entity=t["entity_id"].long(), sym=t["sym_id"].long())


def _chain_templates(t: dict[str, torch.Tensor]) -> TemplateFeatures:
    """Template features of a complex, in which every slot counts."""
    atoms = t["template_all_atom_positions"].float(), t["template_all_atom_mask"].float()
    return chain_template_features(t["template_aatype"].long(), *atoms)


def _templates(t: dict[str, torch.Tensor]) -> TemplateFeatures:
    """Template features; with zero_init off, as in run_alphafold.py, undefined torsions have sine 1 and cosine 0."""
    ours = template_features(
        t["template_aatype"].long(), t["template_all_atom_positions"], t["template_all_atom_masks"]
    )
    defined, placeholder = ours.torsions_mask.unsqueeze(-1).bool(), torch.tensor([1.0, 0.0])
    return dataclasses.replace(
        ours,
        mask=t["template_mask"],
        torsions=torch.where(defined, ours.torsions, placeholder),
        torsions_alt=torch.where(defined, ours.torsions_alt, placeholder),
    )


def same(found: dict[str, float]) -> bool:
    """Whether all differences are within `LIMITS` and `LOGITS`."""
    return all(value <= LIMITS.get(key, LOGITS) for key, value in found.items())


def differences(
    output: Output, expected: dict[str, np.ndarray], config: ModelConfig, chain_lengths: tuple[int, ...] = ()
) -> dict[str, float]:
    """Largest difference of each output; chain_lengths: residues of each chain of a complex.

    Atoms and PAE in angstrom, pLDDT in points of 100, logits as a fraction of the largest logit of their head.
    """
    logits = {
        "distogram/logits": output.distogram, "masked_msa/logits": output.masked_msa,
        "experimentally_resolved/logits": output.resolved, "predicted_lddt/logits": output.lddt,
    }  # fmt: skip
    worst = {
        name: float(np.abs(value.numpy() - expected[name]).max() / np.abs(expected[name]).max())
        for name, value in logits.items()
    }
    atoms = output.positions.numpy() - expected["structure_module/final_atom_positions"]
    worst["atoms"] = float(np.linalg.norm(atoms, axis=-1).max())
    worst["plddt"] = float(np.abs(plddt(output.lddt).numpy() - expected["plddt"]).max())
    if output.pae is not None and PAE_LOGITS in expected:
        errors = np.abs(output.pae.numpy() - expected[PAE_LOGITS])
        worst["predicted_aligned_error/logits"] = float(errors.max() / np.abs(expected[PAE_LOGITS]).max())
    if output.pae is not None and "ptm" in expected:
        last, weight = config.heads.pae_last_break, torch.ones(output.pae.shape[0])
        pae = expected_aligned_error(output.pae, last).numpy()
        worst["pae"] = float(np.abs(pae - expected["predicted_aligned_error"]).max())
        worst["ptm"] = abs(float(predicted_tm_score(output.pae, last, weight)) - float(expected["ptm"]))
        if chain_lengths:
            scores = chain_tm_scores(output.pae, last, chain_lengths)[..., 0].numpy()
            worst["iptm"] = abs(iptm(scores, _structure(output, chain_lengths)) - float(expected["iptm"]))
    return worst


def _structure(output: Output, chain_lengths: tuple[int, ...]) -> Structure:
    """The structure, with glycines alone."""
    atoms, count = output.positions.numpy(), sum(chain_lengths)
    mask, numbers, confidence = np.ones(atoms.shape[:-1], bool), np.arange(count), np.zeros(count, np.float32)
    return Structure("G" * count, atoms, mask, numbers, confidence, chain_lengths=chain_lengths)
