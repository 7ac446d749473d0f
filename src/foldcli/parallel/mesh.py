"""The ranks as a mesh: one sample is split over the axial dimension, different samples over the data dimension."""

from dataclasses import dataclass

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from foldcli.errors import InputError

DATA, AXIAL = "data", "axial"


@dataclass(frozen=True)
class Axis:
    """One dimension of the mesh as a rank sees it; plain values, so that modules that hold it can be copied."""

    rank: int
    size: int
    group: str


def build_mesh(device_type: str, axial: int) -> DeviceMesh:
    """Arrange all ranks as (data, axial), neighbours along the axial dimension: it should lie within a host.

    InputError if `axial` does not divide the number of ranks.
    """
    ranks = dist.get_world_size()
    if axial < 1 or ranks % axial:
        raise InputError(f"--dap {axial}: does not divide the {ranks} ranks; take a divisor, or auto")
    return init_device_mesh(device_type, (ranks // axial, axial), mesh_dim_names=(DATA, AXIAL))


def axis_of(mesh: DeviceMesh, name: str) -> Axis:
    """The named dimension, "data" or "axial"."""
    return Axis(mesh.get_local_rank(name), mesh[name].size(), mesh.get_group(name).group_name)
