"""Gradients of parameters: summed over the axial ranks, which share a sample, and averaged over the data ranks."""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from foldcli.parallel.mesh import RankGroup, RankMesh
from foldcli.shapes import Tensor

# Bytes of one message: large enough for the network, small enough not to double the gradients' memory.
BUCKET = 1 << 26


def sum_over_axial(gradients: Sequence[Tensor], mesh: RankMesh) -> None:
    """Sum each axial rank's partial gradients into those of the whole sample, in place."""
    _all_reduce(gradients, mesh.axial)


def average_over_data(tensors: Sequence[Tensor], mesh: RankMesh) -> None:
    """Replace tensors by their mean over the ranks that hold other samples, in place."""
    if mesh.data.size > 1:
        _all_reduce(tensors, mesh.data)
        torch._foreach_div_(list(tensors), mesh.data.size)


def _all_reduce(tensors: Sequence[Tensor], group: RankGroup) -> None:
    if group.size == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.flatten() for tensor in bucket])
        dist.all_reduce(flat, group=group.process_group)
        for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors in order, grouped into buckets of one dtype and about BUCKET bytes."""
    buckets: list[list[Tensor]] = []
    filled, dtype = BUCKET, None
    for tensor in tensors:
        if filled >= BUCKET or tensor.dtype != dtype:
            buckets.append([])
            filled, dtype = 0, tensor.dtype
        buckets[-1].append(tensor)
        filled += tensor.nbytes
    return buckets
