"""Validation scores of a predicted chain: agreement with the true structure, and quality of its backbone."""

from dataclasses import dataclass

import torch

from foldcli.geometry.lddt import distances, lddt
from foldcli.geometry.superposition import tm_score_and_gdt
from foldcli.geometry.torsions import torsion_angles
from foldcli.protein.residues import CA, C, N
from foldcli.shapes import Float, Int, Tensor

CLASH = 3.0


@dataclass(frozen=True)
class Agreement:
    """Agreement of CA atoms: lDDT (Mariani et al. 2013), TM-score, GDT-TS, all 0 to 1, and dRMSD in angstrom."""

    lddt: float
    tm_score: float
    gdt_ts: float
    drmsd: float


@dataclass(frozen=True)
class BackboneQuality:
    """Geometry of a chain's backbone; a mean over no bonds is NaN.

    n_ca, ca_c, c_n: mean bond lengths in angstrom (ideal: 1.46, 1.52, 1.33); twist: mean deviation of peptides from
    planar in degrees; clashes: share of residues whose CA is within 3 angstrom of one that is no neighbour.
    """

    n_ca: float
    ca_c: float
    c_n: float
    twist: float
    clashes: float


@torch.no_grad()
def agreement(predicted: Float[Tensor, "i 3"], true: Float[Tensor, "i 3"], mask: Float[Tensor, " i"]) -> Agreement:
    """Compare predicted with true CA atoms where those are known (mask 1), in angstrom.

    NaN for fewer than three, and for a prediction that is not finite, as after a step at far too high a rate.
    """
    known = mask.bool().cpu()
    a, b = predicted.cpu()[known].double(), true.cpu()[known].double()
    if len(a) < 3 or not a.isfinite().all():
        return Agreement(*[float("nan")] * 4)
    tm_score, gdt_ts = tm_score_and_gdt(a, b)
    return Agreement(float(lddt(a, b, torch.ones_like(a[:, 0]))), tm_score, gdt_ts, drmsd(a, b))


def drmsd(predicted: Float[Tensor, "i 3"], true: Float[Tensor, "i 3"]) -> float:
    """Root mean square difference of all pairwise distances, in angstrom."""
    pairs = torch.triu_indices(len(true), len(true), 1)
    error = (distances(predicted, predicted) - distances(true, true))[*pairs]
    return float(error.square().mean().sqrt())


@torch.no_grad()
def backbone_quality(positions: Float[Tensor, "i 37 3"], residue_index: Int[Tensor, " i"]) -> BackboneQuality:
    """Bonds, planarity of peptides and CA clashes of one chain; its backbone atoms, in angstrom, must all be known."""
    n, ca, c = (positions[:, k] for k in (N, CA, C))
    bonded = residue_index.diff() == 1
    unknown = torch.full_like(residue_index, 20)
    omega = torsion_angles(unknown, positions, torch.ones_like(positions[..., 0]))[0][1:, 0]
    # the sine of omega's distance from 0 or 180 degrees, whichever is nearer
    twist = torch.atan2(omega[:, 0].abs(), omega[:, 1].abs()).rad2deg()
    place = torch.arange(len(ca), device=ca.device)
    apart = (place[:, None] - place).abs() > 1
    clashes = ((distances(ca, ca) < CLASH) & apart).any(-1)
    return BackboneQuality(
        n_ca=float((ca - n).norm(dim=-1).mean()),
        ca_c=float((c - ca).norm(dim=-1).mean()),
        c_n=float((n[1:] - c[:-1]).norm(dim=-1)[bonded].mean()),
        twist=float(twist[bonded].mean()),
        clashes=float(clashes.float().mean()),
    )
