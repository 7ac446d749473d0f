"""How activations are sharded over the ranks of a DAP group, and asynchronous changes between the layouts.

The MSA representation is sharded over sequences or over residues, the pair representation over its rows i. Functions
named `_async` start a collective and return a `Pending` (Duality Async Operations). Axes are counted from the end, so
that leading batch axes are free.
"""

import math

import torch
import torch.nn.functional as F

from foldcli.parallel.collectives import Arrived, Pending, all_gather, all_to_all, messages, scatter, start
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Float, Msa, Pair, Tensor


def padded(x: Tensor, axis: int, multiple: int) -> Tensor:
    """Pad an axis with zeros to a multiple."""
    missing = -x.shape[axis] % multiple
    return F.pad(x, (0, 0) * (-axis - 1) + (0, missing)) if missing else x


def local_shard(x: Tensor, axis: int, group: RankGroup) -> Tensor:
    """This rank's part of a tensor that all ranks hold; its size along `axis` must be divisible by theirs."""
    length = x.shape[axis] // group.size
    return x.narrow(axis, group.rank * length, length)


def all_gather_async(x: Tensor, axis: int, group: RankGroup) -> Pending:
    """Concatenate all ranks' parts along an axis."""
    return start(x.movedim(axis, 0), all_gather(group), lambda y: y.movedim(0, axis))


def scatter_async(x: Tensor, axis: int, group: RankGroup) -> Pending:
    """Give each rank its part of rank 0's tensor."""
    sent = x.movedim(axis, 0)[: x.shape[axis] if group.first else 0]
    return start(sent, scatter(group, x.shape[axis] // group.size), lambda y: y.movedim(0, axis))


def transpose_pairs_async(z: Pair, group: RankGroup) -> Pending | Arrived:
    """Transpose pairs [i, j] that are sharded over rows into [j, i], sharded over rows again (all-to-all).

    Large ones go in slices, of which two are on their way at once, and have arrived at the return.
    """
    columns = z.unflatten(-2, (group.size, -1))
    slices = columns.chunk(messages(math.prod(z.shape) * z.element_size()), dim=-2)
    coming = _transpose_async(slices[0], group)
    if len(slices) == 1:
        return coming
    rows = []
    for following in slices[1:]:
        after = _transpose_async(following, group)
        rows.append(coming.wait())
        coming = after
    return Arrived(torch.cat([*rows, coming.wait()], dim=-3))


def _transpose_async(columns: Float[Tensor, "*b i ranks j c_z"], group: RankGroup) -> Pending:
    """Some columns of each rank, as its rows."""
    blocks = columns.movedim(-3, 0).transpose(-2, -3)
    return start(blocks, all_to_all(group), lambda y: y.movedim(0, -3).flatten(-3, -2))


def sequences_to_residues_async(m: Msa, group: RankGroup) -> Pending:
    """Reshard the MSA representation from sequences to residues (all-to-all)."""
    blocks = m.unflatten(-2, (group.size, -1)).movedim(-3, 0)
    return start(blocks, all_to_all(group), lambda y: y.movedim(0, -4).flatten(-4, -3))


def residues_to_sequences_async(m: Float[Tensor, "*b s j c_m"], group: RankGroup) -> Pending:
    """Reshard the MSA representation from residues to sequences (all-to-all)."""
    blocks = m.unflatten(-3, (group.size, -1)).movedim(-4, 0)
    return start(blocks, all_to_all(group), lambda y: y.movedim(0, -3).flatten(-3, -2))
