"""What planning knows of a tensor: how it lies in which memory."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorSpec:
    """A value's metadata.

    storage: the first value with the same memory, or any number that tells memories apart; storage_bytes: what that
    memory takes; offset: of the first element in it, in elements.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    storage: int
    storage_bytes: int
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of its elements alone, of which a view's storage has more."""
        return math.prod(self.shape) * self.dtype.itemsize

    def empty(self) -> Tensor:
        """A new tensor of this shape and layout, fake inside a fake tensor mode."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


def spec_of(tensor: Tensor, storage: int) -> TensorSpec:
    """The metadata of a tensor, of which `storage` is given."""
    size = tensor.untyped_storage().nbytes()
    layout = tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device
    return TensorSpec(*layout, storage, size, int(tensor.storage_offset()))


def memory_of(tensor: Tensor) -> int:
    """A number that tensors with the same memory share, as long as one of them is there."""
    return tensor.untyped_storage()._cdata


def specs_of(given: Iterable[Tensor]) -> list[TensorSpec]:
    """The metadata of tensors, with the same number for the same memory."""
    return [spec_of(tensor, memory_of(tensor)) for tensor in given]
