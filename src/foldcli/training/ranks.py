"""What one rank of a run needs to know of the others: samples are spread over `data`, each one over `axial`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from foldcli.model.alphafold import Output
from foldcli.parallel.gradients import average_over_data, sum_over_axial
from foldcli.parallel.shard import gather_output
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

    def average_over_data(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its mean over the ranks that hold other samples."""
        if self.mesh:
            average_over_data(tensors, self.mesh)

    def sum_over_axial(self, gradients: Sequence[Tensor]) -> None:
        """Make the whole gradient of a sample of the shares that the ranks have which it is split over."""
        if self.mesh:
            sum_over_axial(gradients, self.mesh)

    def whole(self, output: Output) -> Output:
        """A pass with nothing left split."""
        return gather_output(output)
