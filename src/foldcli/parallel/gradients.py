"""Gradients of parameters: a rank's share is summed over the axial ranks, and averaged over samples once."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from foldcli.parallel.mesh import AXIAL, DATA
from foldcli.shapes import Tensor

# Bytes of one message: large enough for the network, small enough not to double the gradients' memory.
BUCKET = 1 << 26


def sum_over_axial(gradients: Sequence[Tensor], mesh: DeviceMesh) -> None:
    """Make the whole gradient of one sample of every axial rank's share, in place."""
    _reduce(gradients, mesh, AXIAL)


def average_over_data(gradients: Sequence[Tensor], mesh: DeviceMesh) -> None:
    """Replace gradients by their mean over the ranks that hold other samples, in place."""
    _reduce(gradients, mesh, DATA)
    torch._foreach_div_(list(gradients), mesh[DATA].size())


def _reduce(tensors: Sequence[Tensor], mesh: DeviceMesh, name: str) -> None:
    if mesh[name].size() == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.flatten() for tensor in bucket])
        dist.all_reduce(flat, group=mesh.get_group(name))
        for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors of one type in their order, about as many to a bucket as fill it."""
    buckets: list[list[Tensor]] = []
    filled, dtype = BUCKET, None
    for tensor in tensors:
        if filled >= BUCKET or tensor.dtype != dtype:
            buckets.append([])
            filled, dtype = 0, tensor.dtype
        buckets[-1].append(tensor)
        filled += tensor.nbytes
    return buckets
