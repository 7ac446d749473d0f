"""Gradients of parameters: summed over the axial ranks, which share a sample, and averaged over the data ranks.

Sums over axial ranks travel while the backward pass still runs. Means over data ranks cannot: what is averaged are
gradients that each rank has clipped, by a norm that is known once all of them are.
"""

from collections.abc import Sequence
from functools import partial

import torch

from foldcli.parallel.collectives import wait
from foldcli.parallel.mesh import RankGroup, RankMesh
from foldcli.shapes import Float, Tensor

# Bytes of one message: large enough for the network, small enough that the first leaves early.
BUCKET = 1 << 24

_ops = torch.ops._c10d_functional


def whole_gradients(loss: Float[Tensor, ""], parameters: Sequence[Tensor], mesh: RankMesh) -> list[Tensor]:
    """The gradients of the whole sample, from each axial rank's part of its loss; zeros for what it does not use."""
    if mesh.axial.size == 1:
        return list(torch.autograd.grad(loss, parameters, materialize_grads=True))
    sums = _Sums(mesh.axial)
    hooks = [parameter.register_hook(partial(sums.add, place)) for place, parameter in enumerate(parameters)]
    try:
        found = torch.autograd.grad(loss, parameters, materialize_grads=True)
    finally:
        for hook in hooks:
            hook.remove()
    whole = sums.finish()
    return [whole.get(place, part) for place, part in enumerate(found)]


class _Sums:
    """Sums of tensors over ranks, in buckets that are sent as they fill; each rank must add them in the same order."""

    def __init__(self, group: RankGroup) -> None:
        self.group = group
        self.bucket: list[tuple[int, Tensor]] = []
        self.sent: list[tuple[list[tuple[int, torch.Size]], Tensor]] = []

    def add(self, place: int, part: Tensor) -> None:
        if self.bucket and self.bucket[0][1].dtype != part.dtype:
            self._send()
        self.bucket.append((place, part))
        if sum(tensor.nbytes for _, tensor in self.bucket) >= BUCKET:
            self._send()

    def finish(self) -> dict[int, Tensor]:
        """The sums by place, all of them here."""
        if self.bucket:
            self._send()
        found: dict[int, Tensor] = {}
        for bucket, pending in self.sent:
            parts = wait(pending).split([shape.numel() for _, shape in bucket])
            found |= {place: part.view(shape) for (place, shape), part in zip(bucket, parts, strict=True)}
        return found

    def _send(self) -> None:
        flat = torch.cat([part.flatten() for _, part in self.bucket])
        shapes = [(place, part.shape) for place, part in self.bucket]
        self.sent.append((shapes, _ops.all_reduce_(flat, "sum", self.group.name)))
        self.bucket = []


@torch.no_grad()
def average_over_data(tensors: Sequence[Tensor], mesh: RankMesh) -> None:
    """Replace dense tensors by their mean over the ranks that hold other samples, in place."""
    if mesh.data.size == 1:
        return
    pieces = [piece for tensor in tensors for piece in tensor.view(-1).split(BUCKET // tensor.itemsize)]
    for pending in [_ops.all_reduce_(piece, "sum", mesh.data.name) for piece in pieces]:
        wait(pending)
    torch._foreach_div_(list(tensors), mesh.data.size)
