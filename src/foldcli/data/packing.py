"""Values full of tensors, moved between processes and devices as one piece."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
# Bytes: every tensor begins at a multiple, so that it can be read in place whatever its type.
ALIGNMENT = 64


def map_tensors(value: T, change: Callable[[Any], Any]) -> T:
    """The same dataclasses and tuples with each tensor (or slot) in them changed."""
    if isinstance(value, Tensor | Slot):
        return change(value)
    if isinstance(value, tuple):
        return type(value)(map_tensors(part, change) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: map_tensors(getattr(value, field.name), change) for field in fields(value)}
        return type(value)(**parts)
    return value


@dataclass(frozen=True)
class Slot:
    """Where a tensor's bytes lie in a buffer."""

    start: int
    shape: torch.Size
    dtype: torch.dtype

    def of(self, buffer: Tensor) -> Tensor:
        size = self.shape.numel() * self.dtype.itemsize
        return buffer[self.start : self.start + size].view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class Packed(Generic[T]):
    """A value whose tensors lie in one buffer.

    A process hands on each tensor as a file descriptor, of which it may have few, and a sample has about a hundred.
    """

    value: T
    buffer: Tensor

    def pin_memory(self) -> "Packed[T]":
        return Packed(self.value, self.buffer.pin_memory())

    def unpack(self) -> T:
        return map_tensors(self.value, lambda slot: slot.of(self.buffer))


def pack(value: T) -> Packed[T]:
    """Copy all tensors of a value into one buffer."""
    placed: list[tuple[Slot, Tensor]] = []
    end = 0

    def place(tensor: Tensor) -> Slot:
        nonlocal end
        slot = Slot(end, tensor.shape, tensor.dtype)
        placed.append((slot, tensor))
        end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        return slot

    packed = Packed(map_tensors(value, place), torch.empty(end, dtype=torch.uint8))
    for slot, tensor in placed:
        slot.of(packed.buffer).copy_(tensor)
    return packed
