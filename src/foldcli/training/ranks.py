"""What one rank of a run needs to know of the others: samples are spread over `data`, each one over `axial`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from foldcli.shapes import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process's place in the mesh (data, axial); alone where there is none."""

    mesh: DeviceMesh | None = None

    @property
    def data_rank(self) -> int:
        return self.mesh.get_local_rank("data") if self.mesh else 0

    @property
    def data_size(self) -> int:
        return self.mesh["data"].size() if self.mesh else 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that prints and writes."""
        return self.mesh is None or dist.get_rank() == 0

    def sum_over_data(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the ranks that hold other samples, in one message."""
        if self.data_size == 1 or self.mesh is None:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat, group=self.mesh.get_group("data"))
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def agree(self, flag: bool) -> bool:
        """Whether the flag stands on any rank, so that all do the same."""
        if self.mesh is None:
            return flag
        votes = torch.tensor(float(flag), device=self.mesh.device_type)
        dist.all_reduce(votes)
        return bool(votes)
