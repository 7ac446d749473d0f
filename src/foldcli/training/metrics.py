"""What validation says of a predicted chain: how near it is to the truth, and whether it is a protein's backbone."""

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
    """Of CA atoms: lDDT (Mariani et al. 2013), TM-score, GDT-TS, all 0 to 1, and dRMSD in angstrom."""

    lddt: float
    tm_score: float
    gdt_ts: float
    drmsd: float


@dataclass(frozen=True)
class BackboneQuality:
    """Mean bond lengths in angstrom (ideal: 1.46, 1.52, 1.33), mean deviation of peptides from a plane in degrees, and
    the share of residues whose CA lies within 3 angstrom of that of another, not its neighbour; NaN where none is."""

    n_ca: float
    ca_c: float
    c_n: float
    twist: float
    clashes: float


@torch.no_grad()
def agreement(predicted: Float[Tensor, "i 3"], true: Float[Tensor, "i 3"], mask: Float[Tensor, " i"]) -> Agreement:
    """Compare predicted CA atoms with the true ones where those are known (mask 1), all in angstrom."""
    known = mask.bool().cpu()
    a, b = predicted.cpu()[known].double(), true.cpu()[known].double()
    if len(a) < 3:
        return Agreement(*[float("nan")] * 4)
    tm_score, gdt_ts = tm_score_and_gdt(a, b)
    return Agreement(float(lddt(a, b, torch.ones_like(a[:, 0]))), tm_score, gdt_ts, drmsd(a, b))


def drmsd(predicted: Float[Tensor, "i 3"], true: Float[Tensor, "i 3"]) -> float:
    """Root mean square difference of all distances between points, in angstrom."""
    pairs = torch.triu_indices(len(true), len(true), 1)
    error = (distances(predicted, predicted) - distances(true, true))[*pairs]
    return float(error.square().mean().sqrt())


@torch.no_grad()
def backbone_quality(positions: Float[Tensor, "i 37 3"], residue_index: Int[Tensor, " i"]) -> BackboneQuality:
    """Bonds, peptide planes and CA clashes of one chain with all its backbone atoms, in angstrom."""
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
