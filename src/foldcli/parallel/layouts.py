"""Which part of a tensor a rank holds, and how one layout becomes another.

MSA tensors are split over sequences or over residues, pair tensors over rows. Axes are counted from the end, so that
leading batch axes are free.
"""

import torch.nn.functional as F

from foldcli.parallel.collectives import Pending, dealing, gathering, start, swapping
from foldcli.parallel.mesh import Axis
from foldcli.shapes import Float, Msa, Pair, Tensor


def padded(x: Tensor, axis: int, multiple: int) -> Tensor:
    """Fill an axis up with zeros until its length divides."""
    missing = -x.shape[axis] % multiple
    return F.pad(x, (0, 0) * (-axis - 1) + (0, missing)) if missing else x


def own(x: Tensor, axis: int, ranks: Axis) -> Tensor:
    """This rank's part of what all ranks have; the axis must divide."""
    length = x.shape[axis] // ranks.size
    return x.narrow(axis, ranks.rank * length, length)


def gather(x: Tensor, axis: int, ranks: Axis) -> Pending:
    """Start to bring all ranks' parts together along an axis."""
    return start(x.movedim(axis, 0), gathering(ranks), lambda y: y.movedim(0, axis))


def deal(x: Tensor, axis: int, ranks: Axis) -> Pending:
    """Start to give each rank its part of what rank 0 has."""
    dealt = x.movedim(axis, 0)[: x.shape[axis] if ranks.rank == 0 else 0]
    return start(dealt, dealing(ranks, x.shape[axis] // ranks.size), lambda y: y.movedim(0, axis))


def transpose(z: Pair, ranks: Axis) -> Pending:
    """Start to swap the ends of pairs that are split over rows: [i, j] here becomes [j, i], again split over rows."""
    blocks = z.transpose(-2, -3).unflatten(-3, (ranks.size, -1)).movedim(-4, 0)
    return start(blocks, swapping(ranks), lambda y: y.movedim(0, -3).flatten(-3, -2))


def to_columns(m: Msa, ranks: Axis) -> Pending:
    """Start to split over residues what is split over sequences."""
    blocks = m.unflatten(-2, (ranks.size, -1)).movedim(-3, 0)
    return start(blocks, swapping(ranks), lambda y: y.movedim(0, -4).flatten(-4, -3))


def to_rows(m: Float[Tensor, "*b s j c_m"], ranks: Axis) -> Pending:
    """Start to split over sequences what is split over residues."""
    blocks = m.unflatten(-3, (ranks.size, -1)).movedim(-4, 0)
    return start(blocks, swapping(ranks), lambda y: y.movedim(0, -3).flatten(-3, -2))
