"""lDDT of CA atoms: the share of local distances that a prediction keeps, no superposition (Mariani et al. 2013)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from foldcli.geometry.tables import constant
from foldcli.shapes import Float, Points, ResidueMask, Tensor

RADIUS = 15.0
TOLERANCES = (0.5, 1.0, 2.0, 4.0)
# As in AlphaFold: a residue with no other within the radius has an lDDT of 1.
EPSILON = 1e-10


def lddt_per_residue(predicted: Points, true: Points, mask: ResidueMask) -> Float[Tensor, "*b i"]:
    """lDDT, 0 to 1, of each residue: the share of its true distances below 15 angstrom that the prediction keeps.

    Points in angstrom, one for each residue; mask: 1 where the true point is known. A distance counts as kept within
    0.5, 1, 2 and 4 angstrom, averaged (Suppl. Sec. 1.9.6; the original also checks stereochemistry).
    """
    return DistanceErrors.between(predicted, true, mask).lddt(-1)


def lddt(predicted: Points, true: Points, mask: ResidueMask) -> Float[Tensor, "*b"]:
    """lDDT, 0 to 1, of the whole chain: as `lddt_per_residue`, every pair of residues with the same weight."""
    return DistanceErrors.between(predicted, true, mask).lddt((-1, -2))


@dataclass(frozen=True)
class DistanceErrors:
    """By how much a prediction misses each distance, in angstrom, and 1 in `pairs` for those that lDDT counts."""

    errors: Float[Tensor, "*b i j"]
    pairs: Float[Tensor, "*b i j"]

    @classmethod
    def between(cls, predicted: Points, true: Points, mask: ResidueMask) -> "DistanceErrors":
        """As of `lddt_per_residue`."""
        expected = distances(true, true)
        pairs = (expected < RADIUS) * mask.unsqueeze(-1) * mask.unsqueeze(-2)
        pairs.diagonal(dim1=-2, dim2=-1).zero_()
        return cls((distances(predicted, predicted) - expected).abs(), pairs)

    def lddt(self, axes: int | tuple[int, int]) -> Float[Tensor, "..."]:
        """Of each residue, over the last axis, or of the whole chain, over the last two; without a gradient."""
        return self._share(self._kept, axes)

    @cached_property
    @torch.no_grad()
    def _kept(self) -> Float[Tensor, "*b i j"]:
        return self._within(torch.lt)

    def smooth_lddt(self) -> Float[Tensor, "*b"]:
        """lDDT of the whole chain, differentiable: sigmoids, 1 angstrom wide, replace the thresholds.

        As in AlphaFold 3 (Abramson et al. 2024, Suppl. Alg. 27), but of CA atoms only.
        """
        return self._share(self._within(lambda error, tolerances: (tolerances - error).sigmoid()), (-1, -2))

    def _within(self, within: Callable[[Tensor, Tensor], Tensor]) -> Float[Tensor, "*b i j"]:
        """The share of tolerances within which each distance is kept; 0 for pairs that do not count."""
        error = self.errors.unsqueeze(-1)
        return within(error, constant(TOLERANCES, error)).to(self.pairs.dtype).mean(-1) * self.pairs

    def _share(self, kept: Float[Tensor, "*b i j"], axes: int | tuple[int, int]) -> Tensor:
        return (EPSILON + kept.sum(axes)) / (EPSILON + self.pairs.sum(axes))


def distances(points: Points, others: Float[Tensor, "*b j 3"]) -> Float[Tensor, "*b i j"]:
    """All pairwise distances, by differences: by products they are faster, but lose small ones to rounding."""
    if points.is_cpu:
        return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
    # clamp: of 0 the gradient is 0 and not NaN
    return squared_distances(points, others).clamp(min=1e-30).sqrt()


def squared_distances(points: Float[Tensor, "*b i d"], others: Float[Tensor, "*b j d"]) -> Float[Tensor, "*b i j"]:
    """All pairwise squared distances, by differences, in any number of dimensions."""
    if points.is_cpu:
        return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist").square()
    # on CUDA, cdist spends a block of threads on each distance
    return (points.unsqueeze(-2) - others.unsqueeze(-3)).square().sum(-1)
