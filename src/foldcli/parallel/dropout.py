"""Dropout under DAP: the masks of one device, of which each rank takes its part."""

import math

import torch
from torch import nn

from foldcli.model.layers import DropoutAdd
from foldcli.ops.dropout import kept
from foldcli.parallel.layouts import local_shard
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Float, Tensor


class DapDropoutAdd(DropoutAdd):
    """Draw the mask that one device would draw: the same on all ranks where rows share it, else this rank's part."""

    group: RankGroup

    def forward(self, x: Float[Tensor, "*b c"], update: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        if self.shared == -3 or not self.training or self.rate == 0:
            return super().forward(x, update)
        shape = [*update.shape]
        shape[self.shared], shape[-3] = 1, shape[-3] * self.group.size
        seed = torch.randint(2**62, (), device=x.device)
        keep = local_shard(kept(seed, math.prod(shape), self.rate).view(shape), -3, self.group)
        return x + torch.where(keep, update / (1 - self.rate), 0.0)


class DapDropout(nn.Dropout):
    """Draw the mask that one device would draw for all residues, and take this rank's part."""

    group: RankGroup

    def forward(self, x: Float[Tensor, "*b i c"]) -> Float[Tensor, "*b i c"]:
        if not self.training:
            return x
        every = x.new_ones(*x.shape[:-2], x.shape[-2] * self.group.size, x.shape[-1])
        return x * local_shard(super().forward(every), -2, self.group)
