"""The training loss: a weighted sum of terms for each sample (Suppl. Sec. 1.9, Eq. 7)."""

from collections.abc import Callable

import torch

from foldcli.config import LossConfig, ModelConfig
from foldcli.data.training.sample import Labels
from foldcli.geometry.atoms import frames_to_atoms14, torsions_to_frames
from foldcli.geometry.lddt import DistanceErrors
from foldcli.geometry.tables import constant
from foldcli.model.alphafold import Output
from foldcli.model.features import Features
from foldcli.shapes import Float, Tensor
from foldcli.training.losses import confidence, torsion
from foldcli.training.losses.distogram import distogram
from foldcli.training.losses.fape import backbone_fape, side_chain_fape
from foldcli.training.losses.masked_msa import masked_msa
from foldcli.training.losses.truth import truth_of
from foldcli.training.losses.violations import violations

PUBLISHED = ModelConfig("published")
# Unweighted terms by their names in LossConfig; `total`, their weighted sum; `lddt_ca`, which is no loss: 0 to 1.
Terms = dict[str, Float[Tensor, "*b"]]


def total(
    output: Output, features: Features, labels: Labels, config: LossConfig, model: ModelConfig = PUBLISHED
) -> Terms:
    """All loss terms of one pass, their weighted total [b], and lDDT-CA; terms of weight 0 are not computed.

    The total is multiplied by the square root of the crop's residues, so that short chains count less (Suppl. Sec.
    1.9); AlphaFold's published code leaves that out. model: gives the bins of the heads and which atoms are predicted.
    """
    terms = _terms(output, features, labels, config, model)
    lddt_ca = terms.pop("lddt_ca")
    weights = constant(tuple(float(getattr(config, name)) for name in terms), features.seq_mask)
    weighted = torch.tensordot(weights, torch.stack([*terms.values()]), 1)
    return {**terms, "total": weighted * features.seq_mask.sum(-1).sqrt(), "lddt_ca": lddt_ca}


def _terms(output: Output, features: Features, labels: Labels, config: LossConfig, model: ModelConfig) -> Terms:
    aatype, mask, states = features.aatype, features.seq_mask, output.states
    final, truth = states[-1], truth_of(labels, features)
    groups = torsions_to_frames(aatype, final.frames, final.torsions)
    atoms = frames_to_atoms14(aatype, groups)  # as in `output.positions`, which then needs no gradient of its own
    errors = DistanceErrors.between(atoms[..., 1, :], truth.ca, truth.ca_mask)
    good = confidence.well_resolved(labels.resolution, config)

    def pae() -> Tensor:
        assert output.pae is not None, "TrainConfig gives loss.pae a weight only where the model has this head"
        return good * confidence.aligned_error(output.pae, final.frames, truth, model.heads.pae_last_break)

    terms: dict[str, Callable[[], Tensor]] = {
        "backbone_fape": lambda: backbone_fape(states if config.every_layer else states[-1:], truth, labels.clamped),
        "side_chain_fape": lambda: side_chain_fape(groups, atoms, truth, aatype, model.side_chains),
        "smooth_lddt": lambda: 1 - errors.smooth_lddt(),
        "chi": lambda: torsion.chi(states, truth),
        "angle_norm": lambda: torsion.angle_norm(states, mask),
        "distogram": lambda: distogram(output.distogram, truth, model.heads),
        "masked_msa": lambda: masked_msa(output.masked_msa, labels, features),
        "lddt": lambda: good * confidence.lddt(output.lddt, errors, truth),
        "resolved": lambda: good * confidence.resolved(output.resolved, truth, aatype, mask),
        "pae": pae,
        "violations": lambda: violations(atoms, features, model.side_chains),
    }
    wanted = {name: term() for name, term in terms.items() if getattr(config, name)}
    return wanted | {"lddt_ca": errors.lddt((-1, -2))}
