"""Pack all tensors of a value into one buffer, to move them between processes or to a device at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from foldcli.data.training.tensors import map_tensors, named_tensors

T = TypeVar("T")
# Bytes; every tensor starts at a multiple, so that it can be viewed in place whatever its type.
ALIGNMENT = 64


@dataclass(frozen=True)
class Packed(Generic[T]):
    """A value whose tensors are packed into one buffer; outline: the value with meta tensors.

    Processes share each tensor by a file descriptor, whose number is limited; a sample has about a hundred tensors.
    """

    outline: T
    buffer: Tensor

    def pin_memory(self) -> "Packed[T]":
        return Packed(self.outline, self.buffer.pin_memory())

    def to(self, device: torch.device) -> "Packed[T]":
        """The same on a device; from pinned memory the copy goes on while the host does."""
        return Packed(self.outline, self.buffer.to(device, non_blocking=True))

    def unpack(self) -> T:
        places = _places(_tensors(self.outline), self.buffer)
        return map_tensors(lambda _: next(places), self.outline)


def pack(value: T) -> Packed[T]:
    """Copy all tensors of a value into one buffer."""
    tensors = _tensors(value)
    buffer = torch.zeros(sum(map(_room, tensors)), dtype=torch.uint8)
    for tensor, place in zip(tensors, _places(tensors, buffer), strict=True):
        place.copy_(tensor)
    return Packed(map_tensors(lambda tensor: tensor.to("meta"), value), buffer)


def _tensors(value: object) -> list[Tensor]:
    return [tensor for _, tensor in named_tensors(value)]


def _places(tensors: Iterable[Tensor], buffer: Tensor) -> Iterator[Tensor]:
    start = 0
    for tensor in tensors:
        yield buffer[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        start += _room(tensor)


def _room(tensor: Tensor) -> int:
    return -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
