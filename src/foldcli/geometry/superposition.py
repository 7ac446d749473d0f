"""Superposition of structures, and TM-score and GDT-TS, which maximise over superpositions."""

from collections.abc import Iterator

import torch

from foldcli.geometry.rigid import Rigid
from foldcli.shapes import Bool, Float, Tensor

GDT_CUTOFFS = (1.0, 2.0, 4.0, 8.0)
SHORTEST_SEED = 4
REFINEMENTS = 20


def superpose(moving: Float[Tensor, "*b n 3"], fixed: Float[Tensor, "*b n 3"], weight: Float[Tensor, "*b n"]) -> Rigid:
    """The rigid motion of `moving` that minimises weighted squared distances to `fixed` (Kabsch 1976)."""
    share = (weight / weight.sum(-1, keepdim=True)).unsqueeze(-1)
    centre, target = ((points * share).sum(-2, keepdim=True) for points in (moving, fixed))
    u, _, vt = torch.linalg.svd(((fixed - target) * share).mT @ (moving - centre))
    hand = torch.linalg.det(u @ vt).sign()  # exclude reflections
    flip = torch.stack([torch.ones_like(hand), torch.ones_like(hand), hand], dim=-1)
    rotation = (u * flip.unsqueeze(-2)) @ vt
    return Rigid(rotation, (target - centre @ rotation.mT).squeeze(-2))


def tm_scale(length: int) -> float:
    """d0 of the TM-score, in angstrom (Zhang & Skolnick 2004, Eq. 5)."""
    return max(0.5, 1.24 * max(0, length - 15) ** (1 / 3) - 1.8)


@torch.no_grad()
def tm_score_and_gdt(predicted: Float[Tensor, "n 3"], true: Float[Tensor, "n 3"]) -> tuple[float, float]:
    """TM-score and GDT-TS, both 0 to 1, of corresponding CA atoms in angstrom, all of them known.

    Both are maxima over the superpositions that the TM-score program tries (Zhang & Skolnick 2004): fragments of the
    chain, each refined on the residues that it brings close. The true maximum may be slightly higher.
    """
    scale = tm_scale(len(true))
    tm, within = torch.zeros(()), torch.zeros(len(GDT_CUTOFFS))
    cutoffs = torch.tensor(GDT_CUTOFFS, dtype=true.dtype)
    for distance in _distances_tried(predicted, true, (*GDT_CUTOFFS, min(max(scale, 4.5), 8.0))):
        tm = torch.maximum(tm, (1 / (1 + (distance / scale).square())).mean(-1).max())
        shares = (distance.unsqueeze(-1) <= cutoffs).to(true.dtype).mean(-2)
        within = torch.maximum(within, shares.amax(0))
    return float(tm), float(within.mean())


def _distances_tried(
    predicted: Float[Tensor, "n 3"], true: Float[Tensor, "n 3"], cutoffs: tuple[float, ...]
) -> Iterator[Float[Tensor, "k n"]]:
    """Yield distances under the superpositions tried: of all seeds, then refined on residues within each cutoff."""
    seeds = _seeds(len(true))
    start = _distances(predicted, true, seeds)
    yield start
    for cutoff in cutoffs:
        distance, chosen = start, seeds
        for _ in range(REFINEMENTS):
            third = distance.topk(min(3, len(true)), largest=False).values[:, -1:]
            near = distance <= third.clamp(min=cutoff)  # at least three, or the rotation is not determined
            chosen = near[(near != chosen).any(-1)].unique(dim=0)
            if not len(chosen):
                break
            distance = _distances(predicted, true, chosen)
            yield distance


def _seeds(length: int) -> Bool[Tensor, "k n"]:
    """Fragments as masks: the whole chain, halves, quarters and so on, each overlapping the next by half."""
    fragments, size = [], length
    while True:
        fragments += [(start, start + size) for start in range(0, length - size + 1, max(1, size // 2))]
        if size <= SHORTEST_SEED:
            break
        size = max(SHORTEST_SEED, size // 2)
    first, last = torch.tensor(fragments).T[..., None]
    residue = torch.arange(length)
    return (residue >= first) & (residue < last)


def _distances(
    predicted: Float[Tensor, "n 3"], true: Float[Tensor, "n 3"], chosen: Bool[Tensor, "k n"]
) -> Float[Tensor, "k n"]:
    """Distance of each residue from its true place after superposing the chosen residues; one superposition a row."""
    moving, fixed = (points.expand(len(chosen), -1, -1) for points in (predicted, true))
    motion = superpose(moving, fixed, chosen.to(true.dtype))
    return (motion.apply(moving) - fixed).norm(dim=-1)
